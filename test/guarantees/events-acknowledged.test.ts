/**
 * An event that was acknowledged arrives, once in effect: the collector is killed with -9 at named places and at random moments,
 * between its answer and the batch too, while senders send the identical request again after every lost connection, by both doors.
 *
 * FLEETMETER_TEST_ROUNDS sets the number of rounds, FLEETMETER_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { byIdentity, startEventSink } from '../support/event-sink.ts'
import type { Running } from '../support/programs.ts'
import { eventually, freePort, kill, scrape, start, temporaryDirectory, terminate, total } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

const ROUNDS = Number(process.env['FLEETMETER_TEST_ROUNDS'] ?? 12)
const FAULTS = ['journal.append.before', 'journal.append.after', 'batch.send.before', 'cursor.before', ''] as const
const SENDERS = 4
const ANSWER_MS = 10_000

test('every acknowledged event arrives, once in effect, whenever the collector is killed', {
  timeout: 600_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}, ${ROUNDS} rounds`)
  const random = new Random(seed)
  const sink = await startEventSink(t)
  const data = temporaryDirectory()
  const port = await freePort()
  const startCollector = (fault: string): Promise<Running> =>
    start('collector', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${port}`,
      FLEETMETER_AGGREGATOR_URL: sink.url,
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
      FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '200',
      FLEETMETER_COLLECTOR_JOURNAL_SEGMENT_BYTES: '64KiB',
      FLEETMETER_FAULT: fault,
    })
  let collector = await startCollector('')
  t.after(() => kill(collector))
  const stop = new AbortController()
  const acknowledged = new Set<string>()
  let resent = 0
  const senders = Array.from({ length: SENDERS }, async (_, i) => {
    while (!stop.signal.aborted) {
      const request = i % 2 === 0 ? byEvents() : byKafkaRest()
      while (!(await delivered(`http://127.0.0.1:${port}${request.path}`, request, stop.signal))) resent++
      if (!stop.signal.aborted) for (const id of request.ids) acknowledged.add(id)
    }
  })
  for (let round = 0; round < ROUNDS; round++) {
    const fault = FAULTS[round % FAULTS.length]!
    await kill(collector)
    sink.away = random.between(0, 2) === 0
    collector = await startCollector(fault === '' ? '' : `${fault}:${random.between(1, 6)}`)
    if (fault === '') await sleep(random.between(50, 800))
    else {
      // Where nothing is sent while the aggregator is away, some places are not passed.
      await Promise.race([collector.exited, sleep(1500)])
      sink.away = false
      await Promise.race([collector.exited, sleep(10_000)])
    }
    sink.away = false
  }
  await kill(collector)
  collector = await startCollector('')
  await sleep(300)
  stop.abort()
  await Promise.all(senders)
  await eventually(
    'everything is stored',
    async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
    30_000,
  )
  t.diagnostic(`${acknowledged.size} events acknowledged, ${resent} requests sent again, ${sink.items.length} arrived`)
  assert.ok(resent > 0, 'no request was ever lost: the kills did not hit')
  const arrived = byIdentity(sink.items)
  const lost = [...acknowledged].filter((id) => !arrived.has(`default ${id}`))
  assert.deepEqual(lost, [], `${lost.length} of ${acknowledged.size} acknowledged events are lost`)
  assert.equal((await terminate(collector)).how, 0)
})

interface Request {
  readonly path: string
  readonly type: string
  readonly body: string
  readonly ids: readonly string[]
}

function newEvents(): { event_id: string }[] {
  return Array.from({ length: 5 }, (_, n) => ({
    event_id: randomUUID(),
    event_type: 'assets.access.read',
    timestamp: '2026-01-31T12:00:00Z',
    source: 'test',
    resource_url: `s3://asset/${n}`,
    result: true,
  }))
}

function byEvents(): Request {
  const events = newEvents()
  const ids = events.map(({ event_id }) => event_id)
  return { path: '/v1/events', type: 'application/json', body: JSON.stringify(events), ids }
}

function byKafkaRest(): Request {
  const events = newEvents()
  return {
    path: '/topics/asset_access',
    type: 'application/vnd.kafka.json.v2+json',
    body: JSON.stringify({ records: events.map((value) => ({ value })) }),
    ids: events.map(({ event_id }) => event_id),
  }
}

/** @returns false when it has to be sent again */
async function delivered(url: string, { type, body }: Request, stop: AbortSignal): Promise<boolean> {
  try {
    const signal = AbortSignal.timeout(ANSWER_MS) // see bounded-fetch.ts
    const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': type }, body, signal })
    const text = await response.text()
    if (response.status === 200) return true
    assert.equal(response.status, 503, text)
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error // the others are lost connections
  }
  await sleep(20)
  return stop.aborted
}
