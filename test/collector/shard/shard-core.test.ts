/**
 * A shard against a model, through any interleaving of writes, lost answers, crashes, failing disks, restarts of
 * the aggregator and clock steps; and the same with a defect put in on purpose, which must be found.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Door } from '../../../collector/journal/record.ts'
import { DOORS } from '../../../collector/journal/record.ts'
import { Merger } from '../../../collector/rules/merger.ts'
import { rulesInForce } from '../../../collector/rules/read-rules.ts'
import { CursorFile } from '../../../collector/shard/cursor-file.ts'
import type { OutgoingBatch } from '../../../collector/shard/outbox.ts'
import type { IncomingBody } from '../../../collector/shard/reception.ts'
import type { RuleOptions } from '../../../collector/shard/rule-feed.ts'
import { ShardCore } from '../../../collector/shard/shard-core.ts'
import { waiting } from '../../../collector/shard/shard-counts.ts'
import { ITEM_KINDS } from '../../../proto/wire/batch-extras.ts'
import type { AppendFault } from '../../support/memory-files.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import type { OutputPoint } from '../../support/output-points.ts'
import { outputPoints } from '../../support/output-points.ts'
import { shardOptions } from '../../support/shard-options.ts'
import { StoreModel } from '../../support/store-model.ts'
import type { Point } from '../../support/write-request.ts'
import { histogramOf, metricsBatchBody, remoteWrite2Body, remoteWriteBody } from '../../support/write-request.ts'

const NOW = 1_761_991_200_000

const options = shardOptions()

/** One series goes into windows of a rule instead of being stored. */
const RULES: RuleOptions = {
  rules: [{ match: 'm{series="2"}', interval: '10s', outputs: ['sum', 'count'], keep_input: false, grace: '1s' }],
  keepMs: 60_000,
  pointsMax: 1000,
  groupsMax: 10,
}

const bodyOf = (door: Door, points: readonly Point[]): IncomingBody => ({
  door,
  tenant: 'default',
  sender: 'test',
  body: (door === 'metrics_batch' ? metricsBatchBody : door === 'remote_write_2' ? remoteWrite2Body : remoteWriteBody)(
    points,
  ),
})

type Op =
  | {
      readonly kind: 'take'
      readonly bodies: readonly {
        readonly door: Door
        readonly points: readonly { series: number; time: number; value: number }[]
      }[]
    }
  | { readonly kind: 'tick'; readonly room: number }
  | { readonly kind: 'deliver'; readonly which: number; readonly answer: boolean }
  | { readonly kind: 'crash'; readonly lateMaxMs: number }
  | { readonly kind: 'aggregator restart' }
  | { readonly kind: 'fault'; readonly fault: AppendFault }
  | { readonly kind: 'clock'; readonly by: number }
  | { readonly kind: 'rewind'; readonly which: number }

const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record(model, { noNullPrototype: true }) as fc.Arbitrary<T>
const point = record({ series: fc.nat(3), time: fc.nat(4), value: fc.constantFrom(0, 1, 2.5, 1 / 3) })
const take = record<Op>({
  kind: fc.constant('take' as const),
  bodies: fc.array(record({ door: fc.constantFrom(...DOORS), points: fc.array(point, { maxLength: 6 }) }), {
    minLength: 1,
    maxLength: 3,
  }),
} as never)
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: take },
  { weight: 4, arbitrary: record<Op>({ kind: fc.constant('tick'), room: fc.nat(3) } as never) },
  {
    weight: 4,
    arbitrary: record<Op>({ kind: fc.constant('deliver'), which: fc.nat(), answer: fc.boolean() } as never),
  },
  {
    weight: 1,
    arbitrary: record<Op>({ kind: fc.constant('crash'), lateMaxMs: fc.constantFrom(0, 3_600_000) } as never),
  },
  { weight: 1, arbitrary: record<Op>({ kind: fc.constant('aggregator restart') } as never) },
  {
    weight: 1,
    arbitrary: record<Op>({
      kind: fc.constant('fault'),
      fault: fc.constantFrom<AppendFault>('full', 'short', 'short and stuck', 'io'),
    } as never),
  },
  {
    weight: 1,
    arbitrary: record<Op>({ kind: fc.constant('clock'), by: fc.constantFrom(-5000, -1, 1, 1000, 5000) } as never),
  },
  { weight: 1, arbitrary: record<Op>({ kind: fc.constant('rewind'), which: fc.nat() } as never) },
)

/** Defects that the property must notice. */
type Defect =
  | 'none'
  | 'none, few series'
  | 'apply without append'
  | 'cursor at send'
  | 'arrivals forgotten over a restart'

class World {
  readonly defect: Defect
  readonly files = new MemoryFiles()
  readonly store = new StoreModel()
  /** What must be found in the end: the value of the latest acknowledged arrival for each identity. */
  readonly expected = new Map<string, number>()
  /** Values of writes that were answered "retry": nobody knows whether they are on disk, as with any lost answer. */
  readonly unknown = new Map<string, Set<number>>()
  now = NOW
  core!: ShardCore
  inFlight: OutgoingBatch[] = []
  answered: { from: number; to: number }[] = []
  #sessions = 0
  #lateMaxMs = 0
  #tally = zeroTally()
  #merger!: Merger
  #emissionsKept = 0
  #crashes = 0
  /** Files that windows needed went at a full disk, in any process; samples that are counted as lost by that. */
  #unkept = 0
  lost = 0
  /** What the rule gave out last: time and output → value. */
  readonly outputs = new Map<string, number>()

  constructor(defect: Defect) {
    this.defect = defect
    this.#start(options.lateMaxMs)
  }

  /** A limit lowered over the restart must not change what was acknowledged before. */
  get #few(): boolean {
    return this.defect === 'none, few series'
  }

  #start(lateMaxMs: number): void {
    const origin = { ...options.origin, session: `s${this.#sessions++}` }
    this.#lateMaxMs = lateMaxMs
    // Windows keep the end of the journal, and its arrivals with it.
    const rules = this.defect === 'arrivals forgotten over a restart' || this.#few ? options.rules : RULES
    const limits = this.#few ? { ...options.limits, seriesMax: 2 } : options.limits
    this.core = new ShardCore(this.files, { ...options, limits, origin, lateMaxMs, rules })
    this.#merger = new Merger(rulesInForce(rules.rules), 1, { keepMs: RULES.keepMs, collector: 'c' })
    this.#tally = zeroTally()
  }

  run(op: Op): void {
    if (op.kind === 'take') this.#take(op)
    else if (op.kind === 'tick') this.#tick(op.room)
    else if (op.kind === 'deliver') this.#deliver(op.which, op.answer)
    else if (op.kind === 'crash') this.#crash(op.lateMaxMs)
    else if (op.kind === 'aggregator restart') this.store.restart()
    else if (op.kind === 'fault') this.files.nextAppend = op.fault
    else if (op.kind === 'clock') this.now += op.by
    else if (op.kind === 'rewind' && this.inFlight.length > 0) {
      const from = this.inFlight[op.which % this.inFlight.length]!.from
      this.core.rewind(from)
      this.inFlight = this.inFlight.filter((batch) => batch.from < from)
      this.answered = this.answered.filter((range) => range.from < from)
    }
    this.#checkSum()
  }

  #take({ bodies }: Op & { kind: 'take' }): void {
    const points = bodies.map((b) =>
      b.points.map((p): Point => {
        const time = NOW + p.time * 1000
        const one = { name: 'm', labels: { series: String(p.series) }, time, value: p.value }
        // One of the series is a native histogram where the door takes any.
        return p.series === 3 && !this.#few && b.door !== 'metrics_batch'
          ? { ...one, histogram: histogramOf(time, p.value) }
          : one
      }),
    )
    const failing = this.files.nextAppend !== undefined
    if (this.defect === 'apply without append' && failing) this.files.nextAppend = undefined
    const before = this.defect === 'apply without append' && failing ? new Map(this.files.content) : undefined
    const outcomes = this.core.take(
      this.now,
      bodies.map((b, i) => bodyOf(b.door, points[i]!)),
    )
    if (before !== undefined) for (const [name, content] of before) this.files.content.set(name, content)
    for (const [i, outcome] of outcomes.entries()) {
      const keys = points[i]!.filter((p) => p.time >= this.now - this.#lateMaxMs).map(
        (p) =>
          [
            `${p.histogram === undefined ? '' : 'histogram '}m${JSON.stringify([['series', p.labels['series']]])}@${p.time}`,
            p.value,
          ] as const,
      )
      if (outcome.kind !== 'ok') {
        assert.equal(outcome.kind, 'retry')
        for (const [key, value] of keys) this.unknown.set(key, (this.unknown.get(key) ?? new Set()).add(value))
        continue
      }
      const { items, accepted, duplicate, replaced, refused } = outcome.value
      const samples = items.sample + items.histogram
      assert.equal(samples, points[i]!.length)
      assert.equal(samples, accepted + duplicate + replaced + refused.reduce((n, r) => n + r.count, 0))
      const door = bodies[i]!.door
      this.#tally[door].received += samples
      for (const [key, value] of keys) this.expected.set(key, value)
    }
  }

  #tick(room: number): void {
    const urgent = false
    const { batches, emission } = this.core.tick({
      now: this.now,
      stored: this.answered,
      roomBatches: room,
      roomBytes: 1e9,
      urgent,
      emissionsKept: this.#emissionsKept,
    })
    this.answered = []
    if (emission !== undefined) {
      this.#merger.take(0, emission)
      this.#emissionsKept = emission.time
      for (const { labels, time, output } of outputPoints(this.#merger)) {
        const [, name] = labels.find(([label]) => label === '__name__')!
        this.outputs.set(`${time} ${name.split('_').at(-1)}`, figureOf(output))
      }
    }
    this.inFlight.push(...batches)
    if (this.defect === 'cursor at send') this.answered.push(...batches)
  }

  #deliver(which: number, answer: boolean): void {
    if (this.inFlight.length === 0) return
    const batch = this.inFlight[which % this.inFlight.length]!
    assert.ok(this.store.storeDescribed(batch.bytes, (refs) => this.core.describe(refs)))
    if (!answer) return
    this.inFlight = this.inFlight.filter((other) => other !== batch)
    this.answered.push(batch)
  }

  #noteLost(): void {
    this.#unkept += this.core.counts.windowsUnkept
    this.lost += this.core.counts.overflowLost
  }

  #crash(lateMaxMs: number): void {
    this.#crashes++
    this.#noteLost()
    this.#emissionsKept = 0
    this.files.kill()
    this.files.nextAppend = undefined
    // Requests that were on their way may still arrive: the last one does.
    const late = this.inFlight.at(-1)
    if (late !== undefined) this.store.store(late.bytes)
    this.inFlight = []
    this.answered = []
    if (this.defect === 'arrivals forgotten over a restart') forgetArrivals(this.files)
    this.#start(lateMaxMs)
  }

  /** Every sample that was received by this process is in exactly one place. */
  #checkSum(): void {
    for (const door of DOORS) {
      let received = 0
      for (const kind of ITEM_KINDS) {
        const c = this.core.counts.of(door, kind)
        received += c.received
        const refused = c.refused.reduce((a, b) => a + b, 0)
        const aside = c.duplicate + c.replaced + c.consumed
        assert.equal(c.received + c.recovered, refused + aside + c.stored + waiting(c))
        assert.ok(waiting(c) >= 0, `${door}: ${waiting(c)} waiting`)
      }
      assert.equal(received, this.#tally[door].received, `${door}: received`)
    }
  }

  /** Everything is delivered; then what is stored must be what was acknowledged. */
  finish(): void {
    this.files.nextAppend = undefined
    for (let round = 0; this.core.cursor < this.core.journal.end && round < 1000; round++) {
      this.now += 2000
      this.#tick(3)
      while (this.inFlight.length > 0) this.#deliver(0, true)
    }
    this.#tick(0)
    this.#checkSum()
    assert.equal(this.core.cursor, this.core.journal.end)
    // The window of the rule closes, and everything in it is accounted for.
    this.now = Math.max(this.now, NOW + (this.#few ? 80_000 : 20_000)) + 2000
    this.#tick(0)
    this.now += 10_000
    this.#tick(0)
    this.#checkSum()
    assert.equal(waitingItems(this.core), 0)
    const folded: number[] = []
    const folds = this.#few ? () => true : isFolded
    for (const [key, value] of this.expected) {
      const stored = this.store.points.get(key)?.value
      if (folds(key) && stored === undefined) folded.push(value)
      else
        assert.ok(
          stored === value ||
            (stored !== undefined && (this.unknown.get(key)?.has(stored) || (this.#few && this.#crashes > 0))),
          `${key}: ${stored} instead of ${value}`,
        )
    }
    if (!this.defect.startsWith('none') || [...this.unknown.keys()].some(folds)) return
    const over = (what: string): number =>
      [...this.outputs].reduce((n, [key, value]) => n + (key.endsWith(` ${what}`) ? value : 0), 0)
    // After a restart, what was in windows that are not complete any more is stored after all; what has no series to be stored under is
    // counted as lost, and only where the disk was full.
    this.#noteLost()
    assert.ok(this.lost === 0 || (this.#few && this.#crashes > 0 && this.#unkept > 0), `${this.lost} lost`)
    const found = over('count') + this.lost
    assert.ok(found >= folded.length, `${found} in windows or counted as lost, ${folded.length} nowhere else`)
    if (this.#crashes > 0) return
    assert.equal(over('count'), folded.length)
    const sum = folded.reduce((x, y) => x + y, 0)
    assert.ok(Math.abs(over('sum') - sum) < 1e-9, `${over('sum')} instead of ${sum}`)
  }

  close(): void {
    for (const key of this.store.points.keys())
      assert.ok(this.expected.has(key) || this.unknown.has(key), `${key} came from nowhere`)
    this.core.close(this.now)
    assert.equal(this.files.openFiles, 0)
  }
}

const isFolded = (key: string): boolean => key.startsWith('m[["series","2"]]')

function figureOf(output: OutputPoint['output']): number {
  return output.kind === 'float' ? output.value : Number.NaN
}

function waitingItems(core: ShardCore): number {
  return DOORS.flatMap((door) => ITEM_KINDS.map((kind) => waiting(core.counts.of(door, kind)))).reduce((a, b) => a + b)
}

function zeroTally(): Record<Door, { received: number }> {
  return Object.fromEntries(DOORS.map((door) => [door, { received: 0 }])) as Record<Door, { received: number }>
}

/** What a shard would do that kept its last arrival in memory only: the journal is drained and begun anew. */
function forgetArrivals(files: MemoryFiles): void {
  const file = new CursorFile(files, '/shard/cursor')
  file.write({ position: file.read()?.position ?? 0, at: 0, lastAt: 0, windowsFrom: 0, kept: 0 })
  const core = new ShardCore(files, options)
  const drained = core.cursor === core.journal.end
  core.close(0)
  files.kill()
  if (drained) for (const name of [...files.content.keys()]) if (name.endsWith('.seg')) files.content.delete(name)
}

const histories = fc.array(op, { minLength: 1, maxLength: 40, size: 'max' })

function run(defect: Defect, ops: readonly Op[]): World {
  const world = new World(defect)
  for (const one of ops) world.run(one)
  world.finish()
  world.close()
  return world
}

test('a shard stores every acknowledged sample once, with the latest value, through any history', () => {
  fc.assert(
    fc.property(histories, (ops) => void run('none', ops)),
    { numRuns: 1500 },
  )
})

test('a shard that may know two series aggregates the others, and every sample is in one place', () => {
  fc.assert(
    fc.property(histories, (ops) => void run('none, few series', ops)),
    { numRuns: 1500 },
  )
})

test('beyond the bounds, what windows cannot tell of after a full disk and a crash is counted as lost', () => {
  const takes = (value: number, ...series: number[]): Op => ({
    kind: 'take',
    bodies: series.map((one) => ({ door: 'remote_write', points: [{ series: one, time: 0, value }] })),
  })
  const crash: Op = { kind: 'crash', lateMaxMs: 0 }
  const stored: Op[] = [
    { kind: 'tick', room: 1 },
    { kind: 'deliver', which: 0, answer: true },
  ]
  // The clock steps back between, so that the cursor is written at once.
  const full: Op[] = [
    { kind: 'fault', fault: 'full' },
    { kind: 'clock', by: -5000 },
    { kind: 'tick', room: 0 },
  ]
  const { lost } = run('none, few series', [takes(1, 0), crash, takes(1, 1, 2), ...stored, ...full, takes(2, 0), crash])
  assert.equal(lost, 1)
})

for (const defect of [
  'apply without append',
  'cursor at send',
  'arrivals forgotten over a restart',
] satisfies Defect[]) {
  test(`control: the same property finds the defect "${defect}"`, () => {
    const result = fc.check(
      fc.property(histories, (ops) => void run(defect, ops)),
      // One of them needs a clock that steps back at the right moment: one history of some 4,000, and with this seed the 145th. To make a
      // counterexample small is not asked for.
      { seed: 28, numRuns: 20_000, endOnFailure: true },
    )
    assert.ok(result.failed, 'the defect went unnoticed')
  })
}

test('two writers of one identity give the same result in either order of storing', () => {
  const outcome = (writers: readonly [number, number], order: readonly [number, number]) => {
    const batches = writers.map((writer, i) => {
      const core = new ShardCore(new MemoryFiles(), { ...options, writer, origin: { ...options.origin, shard: i } })
      core.take(NOW, [bodyOf('remote_write', [{ name: 'm', labels: {}, time: NOW, value: i }])])
      return core.tick({ now: NOW, stored: [], roomBatches: 9, roomBytes: 1e9, urgent: false }).batches[0]!.bytes
    })
    const store = new StoreModel()
    for (const i of order) store.store(batches[i]!)
    return [...store.points.values()].map((p) => p.value)
  }
  assert.deepEqual(outcome([7, 8], [0, 1]), outcome([7, 8], [1, 0]))
  // Control: writers that tie leave the choice to the order of inserts.
  assert.notDeepEqual(outcome([7, 7], [0, 1]), outcome([7, 7], [1, 0]))
})
