/**
 * Exactly one log entry for each event, whatever comes in which order, twice, late, over restarts and failed writes: the product's
 * admission and recent set against a model of the log, the engine and crashes. Controls that must fail: the recent set without the
 * look-up; an effect before its append; a row before its record.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Admission, eventKey } from '../../../aggregator/owner/admission.ts'
import { RecentIds } from '../../../aggregator/owner/recent-ids.ts'
import type { ReceivedEvent } from '../../../proto/events/event.ts'
import { receivedEvent } from '../../support/events.ts'

const HOUR = 3_600_000
const NOW = Date.UTC(2026, 10, 21, 12)

type Defect = 'no look-up' | 'effect before append' | 'rows before log'

/** The log, the tables and memory, each with what it survives. */
class World {
  /** What is durable, in order. */
  readonly log: string[] = []
  /** What was counted by a fold of this process, and by a replay of the log. */
  effects: string[] = []
  readonly rows = new Set<string>()
  #tail = new Set<string>()
  #recent: RecentIds
  #admission: Admission
  #writeFails = false
  readonly #defect: Defect | undefined
  readonly #times = new Map<string, number>()
  answered: Set<string> = new Set()

  constructor(defect: Defect | undefined) {
    this.#defect = defect
    this.#recent = new RecentIds(NOW - HOUR, RECENT_MAX)
    this.#admission = this.#begin()
  }

  #begin(): Admission {
    return new Admission({
      recent: () => this.#recent,
      inTail: (key) => this.#tail.has(key),
      lookUp: async (events) => {
        const stored = new Set(this.rows) // of the moment that the statement begins
        await Promise.resolve()
        if (this.#defect === 'no look-up') return new Set()
        return new Set(
          events.map(({ tenant, event }) => eventKey(tenant, event.event_id)).filter((key) => stored.has(key)),
        )
      },
      append: (events) => this.#append(events),
    })
  }

  async #append(events: readonly ReceivedEvent[]): Promise<void> {
    const keys = events.map(({ tenant, event }) => eventKey(tenant, event.event_id))
    if (this.#defect === 'effect before append') this.effects.push(...keys)
    if (this.#defect === 'rows before log') for (const key of keys) this.rows.add(key)
    await Promise.resolve()
    if (this.#writeFails) throw new Error('no space')
    this.log.push(...keys)
    if (this.#defect !== 'effect before append') this.effects.push(...keys)
    for (const [i, { tenant, event }] of events.entries()) {
      const time = Date.parse(event.timestamp)
      this.#times.set(keys[i]!, time)
      this.#recent.add(tenant, event.event_id, time)
      this.#tail.add(keys[i]!)
    }
  }

  async send(events: readonly ReceivedEvent[], writeFails: boolean): Promise<void> {
    this.#writeFails = writeFails
    const outcomes = await this.#admission.admit(events)
    this.#writeFails = false
    for (const [i, outcome] of outcomes.entries())
      if (typeof outcome === 'string') this.answered.add(eventKey(events[i]!.tenant, events[i]!.event.event_id))
  }

  /** Rows of the tail go in. */
  insert(): void {
    for (const key of this.#tail) this.rows.add(key)
    this.#tail = new Set()
  }

  /** The process dies: the log and the tables stay; memory begins from both. */
  crash(): void {
    this.effects = [...this.log]
    this.#tail = new Set(this.log.filter((key) => !this.rows.has(key)))
    this.#recent = new RecentIds(NOW - HOUR, RECENT_MAX)
    for (const key of this.log) {
      const [tenant = '', id = ''] = key.split('\n')
      this.#recent.add(tenant, id, this.#times.get(key)!)
    }
    this.#admission = this.#begin()
  }
}

const RECENT_MAX = 8
/** Few ids over many hours, so that they come again, and come late. */
const EVENTS: readonly ReceivedEvent[] = Array.from({ length: 24 }, (_, i) =>
  receivedEvent(
    { timestamp: new Date(NOW - ((i % 12) * HOUR) / 4).toISOString() },
    { tenant: i % 2 === 0 ? 'a' : 'b' },
  ),
)
const batch = fc.array(fc.constantFrom(...EVENTS), { minLength: 1, maxLength: 8 })
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      batches: fc.array(batch, { minLength: 1, maxLength: 3 }),
      fails: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('insert' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
)

/** Every history ends with each event in the log at most once, and every answered one there; effects are those of the log. */
function property(defect: Defect | undefined) {
  return fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
    const world = new World(defect)
    for (const one of steps) {
      if (one.kind === 'insert') world.insert()
      else if (one.kind === 'crash') world.crash()
      // Several senders at once.
      else await Promise.all(one.batches.map((events) => world.send(events, one.fails)))
    }
    assert.equal(new Set(world.log).size, world.log.length, 'an event is in the log twice')
    for (const key of world.answered) assert.ok(world.log.includes(key), 'an answered event is not in the log')
    assert.deepEqual(world.effects, world.log, 'what follows is not what the log says')
  })
}

test('each event is in the log once, and what follows from it once, in every history', async () => {
  await fc.assert(property(undefined), { numRuns: 1000 })
})

for (const defect of ['no look-up', 'effect before append', 'rows before log'] as const)
  test(`control: ${defect} is found`, async () => {
    const result = await fc.check(property(defect), { numRuns: 1000, endOnFailure: true })
    assert.ok(result.failed, 'no history showed it')
  })

test('RecentIds holds exactly the ids that were added and are not before t0', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ i: fc.nat(60), time: fc.nat(40) }), { maxLength: 200 }),
      fc.integer({ min: 4, max: 40 }),
      (adds, max) => {
        const set = new RecentIds(5, max)
        const model = new Map<string, number>()
        for (const { i, time } of adds) {
          const { tenant, event } = NUMBERED[i]!
          set.add(tenant, event.event_id, time)
          if (time >= set.t0 && !model.has(eventKey(tenant, event.event_id)))
            model.set(eventKey(tenant, event.event_id), time)
          for (const [key, at] of model) if (at < set.t0) model.delete(key)
          assert.ok(set.count <= max)
        }
        for (const { tenant, event } of NUMBERED)
          assert.equal(set.has(tenant, event.event_id), model.has(eventKey(tenant, event.event_id)))
        assert.equal(set.count, model.size)
      },
    ),
    { numRuns: 2000 },
  )
})

/** The same ids in two tenants: they are two events. */
const NUMBERED: readonly ReceivedEvent[] = Array.from({ length: 61 }, (_, i) =>
  receivedEvent(
    { event_id: `00000000-0000-4000-8000-${String(i >> 1).padStart(12, '0')}` },
    { tenant: i % 2 === 0 ? 'a' : 'b' },
  ),
)
