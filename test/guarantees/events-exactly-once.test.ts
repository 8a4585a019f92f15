/**
 * Events: the aggregator and its engine are killed with -9 at random moments and at named places, while senders repeat what was not
 * answered, in other cuts, and some of what was. Afterwards each event is in ClickHouse once, each one that tasks and quotas are decided
 * by is in the owner log once, and its row says at which position.
 *
 * FLEETMETER_TEST_ROUNDS sets the number of rounds, FLEETMETER_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { isOperational } from '../../aggregator/events/operational.ts'
import { FileLog } from '../../aggregator/owner/file-log.ts'
import { nodeLogFiles } from '../../aggregator/owner/log-files.ts'
import type { ReceivedEvent, ReceivedItem, ReceivedLetter } from '../../proto/events/event.ts'
import { silentLogger } from '../../proto/runtime/log.ts'
import { startEngine } from '../support/engine.ts'
import { auditEvent, eventBatch, letter, receivedEvent, sendEvents } from '../support/events.ts'
import type { Running } from '../support/programs.ts'
import {
  authorized,
  enginePid,
  eventually,
  freePort,
  kill,
  ready,
  start,
  temporaryDirectory,
  terminate,
} from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

const ROUNDS = Number(process.env['FLEETMETER_TEST_ROUNDS'] ?? 12)
const HOUR = 3_600_000
const PLACES = ['owner.append.before', 'owner.append.after', 'events.rows.after'] as const
const KILLS = [...PLACES, 'aggregator', 'aggregator', 'engine'] as const

class Senders {
  readonly acknowledged = new Set<ReceivedItem>()
  resent = 0
  #stopped = false
  #running: Promise<void>[] = []
  readonly #url: string
  readonly #random: Random

  constructor(url: string, random: Random) {
    this.#url = url
    this.#random = random
  }

  run(senders: number): void {
    this.#running = Array.from({ length: senders }, () => this.#send())
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.all(this.#running)
  }

  /** New ones with some of old, until all are answered: what is not, goes again in other cuts. */
  async #send(): Promise<void> {
    while (!this.#stopped) {
      let waiting = Array.from({ length: this.#random.between(1, 60) }, () => this.#item())
      const before = [...this.acknowledged]
      for (let i = 0; before.length > 0 && i < 5; i++) waiting.push(this.#random.pick(before))
      while (waiting.length > 0) {
        const batch = waiting.slice(0, this.#random.between(1, waiting.length))
        if ((await sendEvents(this.#url, eventBatch(batch, this.#random.chance(0.2)))) === 200) {
          for (const item of batch) this.acknowledged.add(item)
          waiting = waiting.slice(batch.length)
        } else {
          this.resent++
          waiting.reverse()
          await sleep(this.#random.between(20, 200))
        }
      }
    }
  }

  #item(): ReceivedItem {
    // Some are older than what memory knows after a restart.
    const timestamp = new Date(Date.now() - this.#random.between(0, 60) * HOUR).toISOString()
    const way = { tenant: this.#random.pick(['a', 'b']) }
    if (this.#random.chance(0.05)) return letter()
    return this.#random.chance(0.6) ? receivedEvent({ timestamp }, way) : auditEvent({ timestamp }, way)
  }
}

test('each event is stored once, and in the owner log once, after kill -9 of aggregator and engine at any moment', {
  timeout: 600_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}, ${ROUNDS} rounds`)
  const random = new Random(seed)
  const data = temporaryDirectory()
  const listen = `127.0.0.1:${await freePort()}`
  const begin = (fault = ''): Promise<Running> =>
    start('aggregator', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_AGGREGATOR_LISTEN: listen,
      FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '200',
      FLEETMETER_AGGREGATOR_RECENT_EVENT_IDS_MAX: '1000',
      FLEETMETER_FAULT: fault,
    })
  let aggregator = await begin()
  t.after(() => kill(aggregator))
  const senders = new Senders(aggregator.url, random)
  senders.run(3)
  let left: (typeof KILLS)[number][] = []
  for (let round = 0; round < ROUNDS; round++) {
    if (left.length === 0) left = [...KILLS]
    const [kind] = left.splice(random.between(0, left.length - 1), 1) as [(typeof KILLS)[number]]
    if (kind === 'engine') {
      await sleep(random.between(50, 600))
      const pid = enginePid(aggregator)
      assert.ok(pid !== undefined)
      process.kill(pid, 'SIGKILL')
      await eventually('the engine is back', () => ![undefined, pid].includes(enginePid(aggregator)))
      continue
    }
    if (kind === 'aggregator') {
      await sleep(random.between(50, 900))
      await kill(aggregator)
      await sleep(random.between(0, 200))
    } else {
      await kill(aggregator)
      aggregator = await begin(`${kind}:${random.between(1, 8)}`)
      const died = await Promise.race([aggregator.exited, sleep(30_000)])
      assert.equal(died, 'SIGKILL', `${kind} was not passed within 30 s:\n${aggregator.output()}`)
    }
    aggregator = await begin()
  }
  await sleep(500)
  await senders.stop()
  const items = [...senders.acknowledged]
  t.diagnostic(`${items.length} items acknowledged, ${senders.resent} batches sent again`)
  assert.ok(senders.resent > 0, 'no batch was ever refused or lost: the kills did not hit')
  await ready(aggregator.url)
  await foundAtOnce(aggregator.url)
  const { how } = await terminate(aggregator)
  assert.equal(how, 0, aggregator.output())
  await compare(data, items)
})

/** What was answered is found by the next question, by id and in the list. */
async function foundAtOnce(url: string): Promise<void> {
  for (let i = 0; i < 5; i++) {
    const received = receivedEvent({ task_id: `task-${i}` })
    assert.equal(await sendEvents(url, eventBatch([received])), 200)
    const id = received.event.event_id
    for (const path of [`/v1/events/${id}`, `/v1/events?task_id=task-${i}`]) {
      const text = await (await fetch(url + path, { headers: authorized })).text()
      assert.ok(text.includes(id), `${path}: ${text}`)
    }
  }
}

async function compare(data: string, items: readonly ReceivedItem[]): Promise<void> {
  const events = items.filter((item): item is ReceivedEvent => 'event' in item)
  const letters = items.filter((item): item is ReceivedLetter => 'dead' in item)
  const log = new FileLog(nodeLogFiles, {
    directory: join(data, 'aggregator', 'owner', 'log'),
    quarantine: join(data, 'quarantine'),
    segmentBytes: 1 << 24,
    probeAfterMs: 1000,
    log: silentLogger,
  })
  await log.open(0, 0)
  const logged = new Map<string, number>()
  for await (const records of log.read(0))
    for (const { n, key } of records) {
      assert.ok(!logged.has(key), `${key} is in the log twice`)
      logged.set(key, n)
    }
  assert.equal(log.damage.lost, 0)
  await log.close()
  const engine = await startEngine(join(data, 'aggregator', 'engine'))
  try {
    const rows = await engine.db.rows<{ tenant: string; id: string; n: string; event: string }>(
      "SELECT tenant, toString(event_id) AS id, toString(n) AS n, event FROM fleetmeter.events FINAL WHERE NOT startsWith(task_id, 'task-')",
    )
    const found = new Map(rows.map((row) => [row.id, row]))
    assert.equal(found.size, rows.length, 'an event is stored twice')
    for (const received of events) {
      const row = found.get(received.event.event_id)
      assert.ok(row !== undefined, `${received.event.event_id} was acknowledged and is not stored`)
      assert.deepEqual([row.tenant, JSON.parse(row.event)], [received.tenant, received.event])
      assert.equal(Number(row.n), isOperational(received) ? logged.get(row.id) : 0)
    }
    assert.equal(rows.length, events.length, 'an event that nobody acknowledged')
    const [kept] = await engine.db.rows<{ n: string }>(
      'SELECT toString(count()) AS n FROM fleetmeter.dead_letters FINAL',
    )
    assert.equal(Number(kept!.n), letters.length)
  } finally {
    await engine.stop()
  }
}
