/**
 * Roll-ups against their definition, through every interleaving of inserts, rollers and crashes that the scheduler finds; and
 * with the mistakes that a reader might make, each of which must be found.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Mark, MarkTable } from '../../../aggregator/rollup/marks.ts'
import { Marks } from '../../../aggregator/rollup/marks.ts'
import type { Rollups } from '../../../aggregator/rollup/recompute.ts'
import { rollUp } from '../../../aggregator/rollup/roller.ts'

const H = 3_600_000
const DAY = 24 * H
/** Two hours of one day, all long over. */
const HOURS = [480_000 * H, 480_001 * H] as const
const NOW = HOURS[1] + 100 * H

type Defect =
  | 'none'
  | 'marks before rows'
  | 'w is the count'
  | 'w is the newest arrival'
  | 'an open mark is trusted while the roller reads'
  | 'marks cleared that were not read'

interface Row {
  readonly hour: number
  readonly series: number
  readonly at: number
  readonly value: number
}

interface Window {
  readonly w: number
  readonly sum: number
  readonly count: number
}

/** ClickHouse as far as it matters: rows replaced by identity, windows replaced by w (the later insert on a tie). */
class Tables implements MarkTable, Rollups {
  readonly #scheduler: fc.Scheduler
  readonly #defect: Defect
  readonly rows = new Map<string, Row>()
  readonly hours = new Map<number, Window>()
  readonly days = new Map<number, Window>()
  readonly #marks = new Map<string, { mark: Mark; cleared: boolean }>()

  constructor(scheduler: fc.Scheduler, defect: Defect) {
    this.#scheduler = scheduler
    this.#defect = defect
  }

  /** Any statement takes effect at some later moment, which the scheduler chooses. */
  #statement(): Promise<unknown> {
    return this.#scheduler.schedule(Promise.resolve(), 'statement')
  }

  async insert(rows: readonly Row[]): Promise<void> {
    await this.#statement()
    for (const row of rows) {
      const key = `${row.hour}/${row.series}`
      if (row.at > (this.rows.get(key)?.at ?? -1)) this.rows.set(key, row)
    }
  }

  async add(marks: readonly Mark[]): Promise<void> {
    await this.#statement()
    for (const mark of marks) if (!this.#marks.has(mark.id)) this.#marks.set(mark.id, { mark, cleared: false })
  }

  async open(): Promise<Mark[]> {
    await this.#statement()
    return [...this.#marks.values()].filter((m) => !m.cleared).map((m) => m.mark)
  }

  async clear(marks: readonly Mark[]): Promise<void> {
    await this.#statement()
    const windows = new Set(marks.map((mark) => `${mark.level}/${mark.start}`))
    const ids = new Set(marks.map((mark) => mark.id))
    for (const m of this.#marks.values()) {
      if (
        ids.has(m.mark.id) ||
        (this.#defect === 'marks cleared that were not read' && windows.has(`${m.mark.level}/${m.mark.start}`))
      )
        m.cleared = true
    }
  }

  hourNow(start: number): Window {
    const inside = [...this.rows.values()].filter((row) => row.hour === start)
    const count = inside.length
    const w =
      this.#defect === 'w is the count'
        ? count
        : this.#defect === 'w is the newest arrival'
          ? Math.max(...inside.map((r) => r.at))
          : inside.reduce((n, r) => n + r.at, 0)
    return { w, sum: inside.reduce((n, r) => n + r.value, 0), count }
  }

  dayNow(start: number): Window {
    const inside = [...this.hours].filter(([hour]) => hour >= start && hour < start + DAY).map(([, window]) => window)
    return inside.reduce((a, b) => ({ w: a.w + b.w, sum: a.sum + b.sum, count: a.count + b.count }), {
      w: 0,
      sum: 0,
      count: 0,
    })
  }

  async hour(start: number): Promise<void> {
    await this.#statement()
    const computed = this.hourNow(start)
    await this.#statement()
    if (computed.w >= (this.hours.get(start)?.w ?? 0)) this.hours.set(start, computed)
  }

  async day(start: number): Promise<void> {
    await this.#statement()
    const computed = this.dayNow(start)
    await this.#statement()
    if (computed.w >= (this.days.get(start)?.w ?? 0)) this.days.set(start, computed)
  }
}

const options = { graceMs: 0, lateMaxMs: 1000 * H }

/** Hands a roller the marks as they are, without telling the store that rows are being read. */
class Careless extends Marks {
  override taking(): void {}
}

async function history(
  scheduler: fc.Scheduler,
  inserts: readonly (readonly Row[])[],
  processes: number,
  rounds: number,
  defect: Defect,
): Promise<void> {
  const tables = new Tables(scheduler, defect)
  const newMarks = (): Marks =>
    new (defect === 'an open mark is trusted while the roller reads' ? Careless : Marks)(
      tables,
      processes === 1,
      () => NOW,
    )
  const marks = Array.from({ length: processes }, newMarks)
  const work: Promise<unknown>[] = marks.map(async (own, process) => {
    for (const [i, rows] of inserts.entries()) {
      if (i % processes !== process) continue
      const hours = new Set(rows.map((row) => row.hour))
      if (defect === 'marks before rows') {
        await own.afterRows(hours)
        await tables.insert(rows)
      } else {
        await tables.insert(rows)
        await own.afterRows(hours)
      }
    }
  })
  for (const own of marks) {
    work.push(
      (async () => {
        for (let round = 0; round < rounds; round++) await rollUp(own, tables, NOW, options)
      })(),
    )
  }
  await scheduler.waitFor(Promise.all(work))
  // Everything is in. A last round, by any process, must leave nothing stale.
  await scheduler.waitFor(rollUp(marks[0]!, tables, NOW, options))
  for (const hour of HOURS) {
    const { sum, count } = tables.hourNow(hour)
    const rolled = tables.hours.get(hour) ?? { sum: 0, count: 0 }
    assert.deepEqual({ sum: rolled.sum, count: rolled.count }, { sum, count })
  }
  for (const day of new Set(HOURS.map((hour) => Math.floor(hour / DAY) * DAY))) {
    const { sum, count } = tables.dayNow(day)
    const rolled = tables.days.get(day) ?? { sum: 0, count: 0 }
    assert.deepEqual({ sum: rolled.sum, count: rolled.count }, { sum, count })
  }
}

const row = fc.record({
  hour: fc.constantFrom(...HOURS),
  series: fc.nat(2),
  at: fc.integer({ min: 1, max: 30 }),
  value: fc.nat(9),
})
const inserts = fc.array(fc.array(row, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 6 })
/** Two series of one hour: whatever goes wrong by a point that replaces another is found soon. */
const replacing: typeof inserts = fc.array(
  fc.tuple(
    fc.record({
      hour: fc.constant(HOURS[0]),
      series: fc.nat(1),
      at: fc.integer({ min: 1, max: 5 }),
      value: fc.nat(9),
    }),
  ),
  { minLength: 2, maxLength: 4 },
)
/** Of controls: some need a rare history. */
const SEED = 5
const property = (processes: number, defect: Defect, arrivals: typeof inserts) =>
  fc.asyncProperty(fc.scheduler(), arrivals, fc.integer({ min: 1, max: 4 }), (scheduler, rows, rounds) =>
    history(scheduler, rows, processes, rounds, defect),
  )

for (const processes of [1, 2]) {
  test(`roll-ups equal a recomputation from the points after any interleaving of ${processes} store(s) and roller(s)`, async () => {
    await fc.assert(property(processes, 'none', fc.oneof(inserts, replacing)), { numRuns: 800 })
  })
}

for (const [defect, processes] of [
  ['marks before rows', 2],
  ['marks before rows', 1],
  ['w is the count', 2],
  ['w is the newest arrival', 2],
  ['an open mark is trusted while the roller reads', 1],
  ['marks cleared that were not read', 2],
] as const) {
  test(`control: "${defect}" with ${processes} process(es) is found`, async () => {
    const result = await fc.check(property(processes, defect, replacing), {
      numRuns: 20_000,
      seed: SEED,
      endOnFailure: true,
    })
    assert.ok(result.failed, 'the defect went unnoticed')
  })
}
