/**
 * Events by Kafka with real programs: the seed's service in Python, a collector, three nodes of Kafka, an aggregator that logs in as to Azure
 * Event Hubs, other producers with their compressions. One after the other dies by kill -9 in the midst. What the aggregator tells itself
 * goes to a topic that it consumes.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { FleetEvent } from '../../../proto/events/event.ts'
import type { Kafka } from '../../../proto/kafka/port.ts'
import { startEngine } from '../../support/engine.ts'
import type { KafkaBroker } from '../../support/kafka-broker.ts'
import type { Env, Running } from '../../support/programs.ts'
import { freePort, kill, ready, scrape, start, temporaryDirectory, terminate } from '../../support/programs.ts'
import { pythonWith } from '../../support/python.ts'
import { seedEvents } from '../../support/seed-events.ts'
import { clientOf, madeTopic, messagesOf, NEVER, textOf, unique, until } from './clients.ts'

const CLIENT = fileURLToPath(new URL('../kafka-rest/client.py', import.meta.url))
const REQUIREMENTS = fileURLToPath(new URL('../kafka-rest/requirements.txt', import.meta.url))
const JSON_V2 = 'application/vnd.kafka.json.v2+json'
const TENANT = '6f1f1b1e-0000-4000-8000-000000000001'
const [TASKS, AUDIT, OWN] = ['xumi_task', 'pbac_access', 'fleetmeter.events']
/** Larger than a request to a broker, smaller than the collector's largest event. */
const LARGE = 'x'.repeat(1_010_000)

/** Posts until it is answered; what was, is on record. */
class Stream {
  readonly acknowledged = new Set<string>()
  #stopped = false
  #running: Promise<void>[] = []
  readonly #url: () => string

  constructor(url: () => string) {
    this.#url = url
  }

  run(senders: number): void {
    this.#running = Array.from({ length: senders }, (_, i) => this.#send(i % 2 === 0 ? TASKS : AUDIT))
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }

  /** @param more of each record */
  async post(topic: string, events: readonly { readonly event_id: string }[], more: object = {}): Promise<void> {
    const body = JSON.stringify({ records: events.map((value) => ({ value, ...more })) })
    for (;;) {
      try {
        const headers = { 'Content-Type': JSON_V2 }
        const answer = await fetch(`${this.#url()}/topics/${topic}`, { method: 'POST', headers, body })
        const { offsets } = (await answer.json()) as { offsets: { error_code: number | null }[] }
        assert.ok(offsets.every(({ error_code }) => error_code === null))
        for (const { event_id } of events) this.acknowledged.add(event_id)
        return
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        await sleep(100) // it is dead for the moment: the same again
      }
    }
  }

  async #send(topic: string): Promise<void> {
    while (!this.#stopped) {
      await this.post(
        topic,
        Array.from({ length: 20 }, () => (topic === TASKS ? generation() : politicsCheck())),
      )
      await sleep(20)
    }
  }
}

const envelope = (event_type: string) => ({
  event_id: randomUUID() as string,
  event_type,
  timestamp: new Date().toISOString(),
  tenant_id: TENANT,
  source: 'test',
})

function generation(): { event_id: string } {
  const [, seed] = seedEvents().find(([type]) => type === 'xumi.generation.complete')!
  return { ...seed, ...envelope('xumi.generation.complete') }
}

function politicsCheck(): { event_id: string } {
  const [, seed] = seedEvents().find(([type]) => type === 'pbac.agent.politics.check')!
  return { ...seed, ...envelope('pbac.agent.politics.check') }
}

/** As services in Go and .NET send them: without an id. */
function foreign(codec: string, i: number): string {
  const { event_id: _, ...event } = { ...politicsCheck(), source: codec, eval_ms: i }
  return JSON.stringify(event)
}

function postedByPython(python: string, url: string, events: readonly object[]): void {
  const body = JSON.stringify({ records: events.map((value) => ({ value })) })
  const exchange = { method: 'POST', path: `/topics/${TASKS}`, headers: { 'Content-Type': JSON_V2 }, body }
  const input = JSON.stringify([exchange])
  const { stdout, stderr } = spawnSync(python, [CLIENT, 'requests', url], { input, encoding: 'utf8' })
  assert.notEqual(stdout, '', stderr)
  const [answer] = JSON.parse(stdout) as [{ status: number; text: string }]
  assert.equal(answer.status, 200, answer.text)
  const { offsets } = JSON.parse(answer.text) as { offsets: { offset: number; error_code: null }[] }
  assert.equal(offsets.length, events.length)
  for (const [i, { offset, error_code }] of offsets.entries()) {
    assert.equal(error_code, null)
    if (i > 0) assert.ok(offset > offsets[i - 1]!.offset)
  }
}

export function eventProcessCases(broker: () => KafkaBroker): void {
  test('events go by Kafka: a node, the collector and the aggregator die with -9, each event is there once', async (t) => {
    const python = pythonWith(t, REQUIREMENTS)
    if (python === undefined) return
    const kafka = clientOf(t, broker())
    for (const topic of [TASKS, AUDIT, OWN]) await madeTopic(kafka, topic)
    const { collector, aggregator, group, data } = await worldOf(t, broker())
    await Promise.all([aggregator.begin(), collector.begin()])
    const seeds = seedEvents(9).map(([, event]) => event)
    postedByPython(python, collector.url, seeds)
    const stream = new Stream(() => collector.url)
    stream.run(4)
    const grown = async (what: string, by = 400): Promise<void> => {
      const before = stream.acknowledged.size
      await until(what, () => stream.acknowledged.size > before + by)
    }
    await grown('events flow')
    await broker().kill(2)
    await grown('they are taken without the node')
    await collector.die()
    await collector.begin()
    await grown('they are taken after the collector was killed')
    await aggregator.die()
    await Promise.all([aggregator.begin(), broker().up(2), others(broker(), kafka)])
    await grown('they are taken after the aggregator was killed')
    await stream.stop()
    // A partition that is there, one that is not, and a producer's own key.
    const asked = [politicsCheck(), politicsCheck(), politicsCheck()] as const
    await stream.post(AUDIT, [asked[0]], { partition: 3 })
    await stream.post(AUDIT, [asked[1]], { partition: 77 })
    await stream.post(AUDIT, [asked[2]], { key: 'mine' })
    const large = { ...politicsCheck(), note: LARGE }
    await stream.post(AUDIT, [large])
    await kafka.send([{ topic: AUDIT, key: null, value: Buffer.from('<no event>') }], NEVER)
    const notAnEvent = await fetch(`${collector.url}/topics/${AUDIT}`, {
      method: 'POST',
      headers: { 'Content-Type': JSON_V2 },
      body: '{"records":[{"value":{"what":1}}]}',
    })
    assert.equal(notAnEvent.status, 200)
    await until('the collector has handed all on', async () => {
      const metrics = await scrape(collector.url)
      const at = (name: string) => metrics.get(`fleetmeter_collector_journal_${name}_position{shard="events"}`)
      return at('end') === at('cursor') && at('end') !== undefined
    })
    const collected = await scrape(collector.url)
    assert.equal(collected.get('fleetmeter_collector_kafka_events_aside_total'), 1)
    await until('usage is told', async () => {
      const metrics = await scrape(aggregator.url)
      const published = metrics.get('fleetmeter_aggregator_kafka_usage_total{outcome="published"}')
      return published! > 0 && metrics.get('fleetmeter_aggregator_kafka_usage_behind_records') === 0
    })
    await until('all is committed', async () => {
      for (const topic of [TASKS, AUDIT, OWN]) {
        const committed = await kafka.committed(group, topic)
        for (const [n, { first, end }] of await kafka.offsets(topic))
          if (end > first && committed.get(n) !== end) return false
      }
      return true
    })
    sumsHold(await scrape(aggregator.url))

    // Others read them there: another group on the same topics.
    const onTopics = new Map<string, { key: string; partition: number }>()
    const foreigners = new Map<string, Set<unknown>>()
    for (const topic of [TASKS, AUDIT])
      for (const { key, value, partition } of await messagesOf(kafka, topic)) {
        const id = /"event_id":"([^"]+)"/.exec(textOf(value))?.[1]
        if (id !== undefined) onTopics.set(id, { key: textOf(key), partition })
        else if (textOf(value).includes('"eval_ms"')) {
          const { source, eval_ms } = JSON.parse(textOf(value)) as { source: string; eval_ms: number }
          foreigners.set(source, (foreigners.get(source) ?? new Set()).add(eval_ms))
        }
      }
    for (const codec of CODECS) assert.equal(foreigners.get(codec)?.size, OTHERS, `the producer's own loss: ${codec}`)
    const missing = [...stream.acknowledged].filter((id) => id !== large.event_id && !onTopics.has(id))
    assert.deepEqual(missing, [])
    assert.equal(onTopics.get(asked[0].event_id)!.partition, 3)
    assert.equal(onTopics.get(asked[2].event_id)!.key, '"mine"')
    await aggregator.end()
    const expected = new Set([...stream.acknowledged, ...seeds.map((event) => event['event_id'] as string)])
    t.diagnostic(`${expected.size} acknowledged, and ${3 * OTHERS} of other producers`)
    const told = (await messagesOf(kafka, OWN)).filter(({ headers }) => textOf(headers['fm.group'] ?? null) === group)
    await compare(
      data,
      expected,
      told.map(({ value }) => JSON.parse(textOf(value)) as FleetEvent),
    )
  })
}

const OTHERS = 300
const CODECS = ['snappy', 'lz4', 'zstd']

/** By itself it gives a message up after four tries of 1.5 s; a node is just coming up. */
const PATIENCE = ['--message-send-max-retries', '1000', '--request-timeout-ms', '10000']

/**
 * Services that produce by themselves, with compressions that we do not write; some send the same again. The producer that stands for them
 * gives a batch up after two minutes and ends with 0 all the same, and has been seen to: what is not on the topic then is sent again.
 */
async function others(broker: KafkaBroker, kafka: Kafka): Promise<void> {
  const where = ['--bootstrap-server', broker.bootstrap.join(','), '--topic', AUDIT]
  const produce = (codec: string, lines: readonly string[]): Promise<string> => {
    const how = ['--compression-codec', codec, ...PATIENCE]
    const input = lines.map((line) => `${line}\n`).join('')
    return broker.tool('org.apache.kafka.tools.ConsoleProducer', [...where, ...how], input)
  }
  const all = CODECS.map((codec) => ({ codec, lines: Array.from({ length: OTHERS }, (_, i) => foreign(codec, i)) }))
  await Promise.all(all.map(({ codec, lines }) => produce(codec, [...lines, ...lines.slice(0, 50)])))
  await until('what others produced is on the topic', async () => {
    const there = new Set((await messagesOf(kafka, AUDIT)).map(({ value }) => textOf(value)))
    const missing = all.map(({ codec, lines }) => ({ codec, lines: lines.filter((line) => !there.has(line)) }))
    const left = missing.filter(({ lines }) => lines.length > 0)
    await Promise.all(left.map(({ codec, lines }) => produce(codec, lines)))
    return left.length === 0
  })
}

interface Program {
  readonly url: string
  begin(): Promise<void>
  die(): Promise<void>
  end(): Promise<void>
}

async function worldOf(
  t: TestContext,
  broker: KafkaBroker,
): Promise<{ collector: Program; aggregator: Program; group: string; data: string }> {
  const data = temporaryDirectory()
  const group = unique('group')
  const ports = { collector: await freePort(), aggregator: await freePort() }
  const shared = {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_URL: `http://127.0.0.1:${ports.aggregator}`,
    FLEETMETER_OPEN_WRITE_TENANTS: '*',
    FLEETMETER_KAFKA_BACKOFF_MAX_MS: '500',
    KAFKA_GROUP: group,
  }
  const program = (name: 'collector' | 'aggregator', env: Env): Program => {
    let running: Running | undefined
    t.after(async () => running && (await kill(running)))
    return {
      url: `http://127.0.0.1:${ports[name]}`,
      async begin() {
        running = await start(name, { ...shared, ...env })
        await ready(running.url)
      },
      die: () => kill(running!),
      async end() {
        const { how } = await terminate(running!)
        assert.equal(how, 0, running!.output())
      },
    }
  }
  return {
    data,
    group,
    collector: program('collector', {
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${ports.collector}`,
      FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_COLLECTOR_EVENTS_OPEN_TENANTS: '*',
      KAFKA_BROKERS: broker.bootstrap.join(','),
    }),
    // As to Azure Event Hubs.
    aggregator: program('aggregator', {
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${ports.aggregator}`,
      FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '200',
      FLEETMETER_AGGREGATOR_KAFKA_USAGE_TOPIC: OWN,
      KAFKA_BROKERS: broker.secureBootstrap.join(','),
      KAFKA_USER: '$ConnectionString',
      KAFKA_PASSWORD: 'Endpoint=sb://x/;Key=a=',
      KAFKA_TLS_CA: broker.certificate,
    }),
  }
}

/** Of each road: what came in is somewhere. */
function sumsHold(metrics: ReadonlyMap<string, number>): void {
  const of = (name: string, road: string): number => {
    let sum = 0
    for (const [labels, value] of metrics)
      if (labels.startsWith(`fleetmeter_aggregator_events_${name}{`) && labels.includes(`road="${road}"`)) sum += value
    return sum
  }
  for (const road of ['kafka_rest', 'kafka']) {
    const parts = ['stored_total', 'duplicate_total', 'dead_total', 'expired_total', 'refused_total', 'waiting']
    assert.equal(
      of('received_total', road),
      parts.reduce((sum, name) => sum + of(name, road), 0),
      road,
    )
    assert.ok(of('received_total', road) > 0, road)
  }
}

async function compare(data: string, expected: ReadonlySet<string>, told: readonly FleetEvent[]): Promise<void> {
  const engine = await startEngine(join(data, 'aggregator', 'engine'))
  try {
    const all = await engine.db.rows<{ id: string; source: string; road: string; event: string }>(
      'SELECT toString(event_id) AS id, source, toString(road) AS road, event FROM fleetmeter.events FINAL',
    )
    // Of tasks that were calculated by the end. Had a consumer taken what it told, the row would be of another road.
    const usage = all.filter(({ road }) => road === 'own').map(({ event }) => JSON.parse(event) as FleetEvent)
    usageIsTold(
      usage,
      told,
      JSON.parse(readFileSync(join(data, 'aggregator', 'owner', 'usage-published.json'), 'utf8')),
    )
    const rows = all.filter(({ road }) => road !== 'own')
    const found = new Set(rows.map(({ id }) => id))
    assert.equal(found.size, rows.length, 'an event is stored twice')
    assert.deepEqual(
      [...expected].filter((id) => !found.has(id)),
      [],
      'acknowledged, and not stored',
    )
    for (const codec of CODECS)
      assert.equal(rows.filter(({ source, road }) => source === codec && road === 'kafka').length, OTHERS, codec)
    assert.equal(rows.length, expected.size + 3 * OTHERS)
    const letters = await engine.db.rows<{ raw: string }>('SELECT raw FROM fleetmeter.dead_letters FINAL')
    assert.deepEqual(letters.map(({ raw }) => Buffer.from(raw, 'base64').toString()).sort(), [
      '<no event>',
      '{"what":1}',
    ])
  } finally {
    await engine.stop()
  }
}

/** Each calculation up to the cursor is on the topic as it is stored, and nothing else. */
function usageIsTold(usage: readonly FleetEvent[], told: readonly FleetEvent[], cursor: { readonly n: number }): void {
  const byId = new Map(told.map((event) => [event.event_id, event]))
  for (const event of usage)
    if (Number(event['position']) <= cursor.n) assert.deepEqual(byId.get(event.event_id), event)
  const stored = new Set(usage.map(({ event_id }) => event_id))
  assert.ok(told.length > 0 && told.every(({ event_id }) => stored.has(event_id)))
}
