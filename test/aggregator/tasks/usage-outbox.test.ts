/** What Kafka is told of usage: every calculation, at least once, whatever ends, goes away or sets its clock back meanwhile. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { nodeLogFiles } from '../../../aggregator/owner/log-files.ts'
import type { StoredUsageEvent, UsageSpan } from '../../../aggregator/tasks/stored-usage.ts'
import { CALCULATION } from '../../../aggregator/tasks/tasks-fold.ts'
import { UsageOutbox } from '../../../aggregator/tasks/usage-outbox.ts'
import { EventPublisher } from '../../../proto/kafka/event-publisher.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { receivedEvent } from '../../support/events.ts'
import { FakeKafka } from '../../support/fake-kafka.ts'
import { eventually, temporaryDirectory } from '../../support/programs.ts'

const TOPIC = 'fleetmeter.usage'
const BEGAN = Date.now()

/** A log, the rows that follow from it, and the outbox of each start. */
class World {
  readonly kafka = new FakeKafka()
  readonly directory = temporaryDirectory()
  readonly rows: (StoredUsageEvent & { readonly time: number })[] = []
  readonly spans: UsageSpan[] = []
  readonly #t: TestContext
  outbox!: UsageOutbox
  end = 0
  stored = 0
  engineAway = false

  constructor(t: TestContext) {
    this.#t = t
  }

  /** @param replayed records from this position on; those before are in a snapshot */
  async begin(replayed = 1): Promise<void> {
    const publisher = new EventPublisher(this.kafka, {
      ...{ topics: [], ownTopic: TOPIC, group: 'here' },
      ...{ bytesMax: 1e6, backoffMaxMs: 5, log: silentLogger },
    })
    this.outbox = new UsageOutbox(publisher, {
      files: nodeLogFiles,
      directory: this.directory,
      topic: TOPIC,
      read: async (span, limit) => {
        if (this.engineAway) throw new Error('the engine is away')
        this.spans.push(span)
        const { after, upTo, since } = span
        return this.rows.filter(({ n, time }) => n > after && n <= upTo && time >= since).slice(0, limit)
      },
      storedUpTo: () => this.stored,
      logEnd: () => this.end,
      lookMs: 5,
      clock: systemClock,
      log: silentLogger,
    })
    for (const row of this.rows) if (row.n >= replayed) this.#apply(row)
    this.outbox.begin()
    await this.outbox.start()
    this.#t.after(() => this.outbox.stop(AbortSignal.timeout(1000)))
  }

  /** @param time of the calculation, ms behind the beginning */
  calculate(time: number, more: object = {}): void {
    const n = ++this.end
    const { event } = receivedEvent({ event_type: 'telemetry.usage.calculated', task_id: `task ${n}`, ...more })
    const row = { n, at: (BEGAN + time) * 1000, time: BEGAN + time, event }
    this.rows.push(row)
    this.#apply(row)
    this.stored = n
  }

  #apply({ n, at }: StoredUsageEvent): void {
    this.outbox.apply({ kind: CALCULATION, tenant: 'a', key: '', at, body: '', n, value: undefined })
  }

  get told(): string[] {
    return this.kafka.taken.map(({ value }) => (JSON.parse(value!.toString()) as { task_id: string }).task_id)
  }

  async allTold(): Promise<void> {
    await eventually('all is told', () => this.outbox.behind === 0)
  }
}

const tasks = (...numbers: number[]): string[] => numbers.map((n) => `task ${n}`)

test('each calculation is told once while nothing happens, in the order of the log, as from this group', async (t) => {
  const world = new World(t)
  await world.begin()
  for (let i = 0; i < 250; i++) world.calculate(i)
  await world.allTold()
  assert.deepEqual(world.told, tasks(...Array.from({ length: 250 }, (_, i) => i + 1)))
  const [{ topic, key, headers }] = world.kafka.taken as [(typeof world.kafka.taken)[number]]
  assert.deepEqual([topic, key], [TOPIC, `${world.rows[0]!.event.tenant_id}/task 1`])
  assert.equal(headers?.['fm.group'], 'here')
  assert.equal(headers['fm.topic'], undefined)
  assert.deepEqual(world.outbox.counts, { published: 250, tooLarge: 0 })
})

test('what is not stored yet is told later', async (t) => {
  const world = new World(t)
  await world.begin()
  world.calculate(1)
  world.calculate(2)
  world.stored = 1
  await eventually('the first is told', () => world.told.length > 0)
  assert.equal(world.outbox.behind, 1)
  world.stored = 2
  await world.allTold()
  assert.deepEqual(world.told, tasks(1, 2))
})

test('brokers and the engine away: nothing is kept for it but the cursor, and all is told afterwards', async (t) => {
  const world = new World(t)
  await world.begin()
  world.kafka.away = true
  for (let i = 0; i < 120; i++) world.calculate(i)
  await eventually('health says so', () => /nobody is there/.test(world.outbox.health().detail ?? ''))
  assert.equal(world.outbox.health().ready, true)
  world.engineAway = true
  world.kafka.away = false
  await eventually('health says so', () => /engine is away/.test(world.outbox.health().detail ?? ''))
  world.engineAway = false
  await world.allTold()
  assert.equal(new Set(world.told).size, 120)
})

test('a start goes on at the cursor; one that ended between topic and cursor tells the same again', async (t) => {
  const world = new World(t)
  await world.begin()
  world.calculate(1)
  await world.allTold()
  await world.outbox.stop(AbortSignal.timeout(1000))
  const file = join(world.directory, 'usage-published.json')
  const before = readFileSync(file)
  await world.begin()
  world.calculate(2)
  await world.allTold()
  assert.deepEqual(world.told, tasks(1, 2))
  await world.outbox.stop(AbortSignal.timeout(1000))
  writeFileSync(file, before) // as it was when the topic had it
  await world.begin(3) // and a snapshot has all of it
  await world.allTold()
  assert.deepEqual(world.told, tasks(1, 2, 2))
})

test('a clock that is set back hides nothing, over a start too', async (t) => {
  const world = new World(t)
  await world.begin()
  world.calculate(3_600_000)
  await world.allTold()
  world.calculate(0)
  await world.allTold()
  assert.deepEqual(world.told, tasks(1, 2))
  world.kafka.away = true
  world.calculate(7_200_000)
  world.calculate(1000)
  await world.outbox.stop(AbortSignal.timeout(1000))
  world.kafka.away = false
  await world.begin(world.end + 1)
  world.calculate(500)
  await world.allTold()
  assert.deepEqual(world.told, tasks(1, 2, 3, 4, 5))
})

test('once times rise again, no more is looked through than what is not told yet', async (t) => {
  const world = new World(t)
  await world.begin()
  for (const time of [5000, 1000, 2000, 3000]) {
    world.calculate(time)
    await world.allTold()
  }
  assert.equal(world.spans.at(-1)!.since, BEGAN + 2000)
})

test('asked for the first time, it begins with what is calculated from then on', async (t) => {
  const world = new World(t)
  await world.begin()
  world.calculate(1)
  await world.allTold()
  const later = new World(t)
  later.end = 10 // a log that was there
  later.stored = 10
  await later.begin()
  later.calculate(1)
  await later.allTold()
  assert.deepEqual(later.told, tasks(11))
})

test('a cursor that cannot be read, or that is ahead of the log, costs repeats and no event', async (t) => {
  const world = new World(t)
  await world.begin()
  world.calculate(1)
  await world.allTold()
  for (const [i, damage] of ['', '{"n":', '{"n":-0.5,"since":1}', '[]', '{"n":99,"since":0}'].entries()) {
    await world.outbox.stop(AbortSignal.timeout(1000))
    writeFileSync(join(world.directory, 'usage-published.json'), damage)
    await world.begin()
    world.calculate(2 + i)
    await world.allTold()
    assert.equal(world.told.at(-1), `task ${2 + i}`, damage)
  }
})

test('what no broker takes is counted, and holds up nothing', async (t) => {
  const world = new World(t)
  await world.begin()
  world.calculate(1, { amounts: 'x'.repeat(1_100_000) })
  world.calculate(2)
  await world.allTold()
  assert.deepEqual(world.told, tasks(2))
  assert.deepEqual(world.outbox.counts, { published: 1, tooLarge: 1 })
})
