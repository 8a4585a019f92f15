/**
 * Two shards and the rules' own journal through any history: crashes of all, of the rules' thread alone, a rules' journal that
 * cannot be written, shards that are silent for long, and rules that change, with a restart or without. Every acknowledged input of a rule that drops it is stored after all or in
 * the last output of its window, and no output is ever replaced by one that has less.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { RulesCore } from '../../../collector/rules/rules-core.ts'
import { commonBounds } from '../../../collector/shard/rule-windows.ts'
import type { ShardOptions } from '../../../collector/shard/shard-core.ts'
import { ShardCore } from '../../../collector/shard/shard-core.ts'
import type { ShardCounts } from '../../../collector/shard/shard-counts.ts'
import { waiting } from '../../../collector/shard/shard-counts.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import { shardOptions } from '../../support/shard-options.ts'
import { StoreModel } from '../../support/store-model.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const NOW = 1_761_991_200_000
const INTERVAL = 10_000
const KEEP_MS = 60_000
const SHARDS = [0, 1]
const DROPPING = { match: 'm', interval: '10s', outputs: ['count', 'sum'], keep_input: false, grace: '1s' }
/** The first is in force until rules change. */
const CONFIGURATIONS: readonly (readonly unknown[])[] = [
  [DROPPING],
  [],
  [{ ...DROPPING, keep_input: true }],
  [{ ...DROPPING, interval: '60s' }],
  [
    { ...DROPPING, match: '{__name__="m",series="0"}' },
    { ...DROPPING, match: '{__name__="m",series!="0"}', metric: 'n', interval: '30s' },
  ],
]

function optionsOf(name: string, shard: number, session: string, rules: readonly unknown[]): ShardOptions {
  return shardOptions({
    directory: `/${name}`,
    origin: { collector: 'c', session, shard, shards: 3 },
    writer: shard,
    limits: { overflowSeriesMax: 0, metadataBytesMax: 1000 },
    futureMaxMs: 5000,
    lateMaxMs: 3_600_000_000,
    segmentBytes: 400,
    batchBytes: 1000,
    seed: 3,
    rules: { rules, keepMs: KEEP_MS, pointsMax: 10_000, groupsMax: 100 },
  })
}

type Op =
  | { readonly kind: 'send'; readonly shard: number; readonly ago: number }
  | { readonly kind: 'time'; readonly ms: number }
  | { readonly kind: 'restart' }
  /** `crash`: with a restart; else without. */
  | { readonly kind: 'other rules'; readonly configuration: number; readonly crash: boolean }
  | { readonly kind: 'rules thread dies' }
  | { readonly kind: 'rules journal'; readonly works: boolean }
  | { readonly kind: 'deliver' }

const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant('send' as const), shard: fc.nat(1), ago: fc.nat(15_000) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(500, 3000, 12_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('time' as const), ms: fc.constantFrom(70_000, 400_000) }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: 'rules thread dies' } as const) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('rules journal' as const), works: fc.boolean() }) },
  { weight: 3, arbitrary: fc.constant({ kind: 'deliver' } as const) },
)

const changing: fc.Arbitrary<Op> = fc.oneof(
  { weight: 18, arbitrary: op },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('other rules' as const),
      configuration: fc.nat(CONFIGURATIONS.length - 1),
      crash: fc.boolean(),
    }),
  },
)

/** Defects that the property must notice. */
type Defect = 'none' | 'kept at once' | 'each shard by itself' | 'changes are not written down'

class World {
  readonly defect: Defect
  readonly files = new MemoryFiles()
  readonly store = new StoreModel()
  /** Acknowledged samples of the rule: time → series. */
  readonly sent: { readonly key: string; readonly time: number; readonly value: number }[] = []
  now = NOW
  shards: ShardCore[] = []
  rules!: ShardCore
  merger!: RulesCore
  kept: number[] = []
  answered: { from: number; to: number }[][] = [[], [], []]
  works = true
  #rules = CONFIGURATIONS[0]!
  #session = ''
  #sessions = 0

  constructor(defect: Defect) {
    this.defect = defect
    this.#start()
  }

  /** @param counts of shards that were closed just now in the same process */
  #start(counts: readonly ShardCounts[] = []): void {
    this.#session = `s${this.#sessions++}`
    if (this.defect === 'changes are not written down')
      for (const n of SHARDS) this.files.content.delete(`/shard-${n}/rules`)
    const open = (name: string, n: number, rules: readonly unknown[], i: number): ShardCore =>
      new ShardCore(this.files, optionsOf(name, n, this.#session, rules), () => {}, counts[i])
    this.shards = SHARDS.map((n, i) => open(`shard-${n}`, n, this.#rules, i))
    this.rules = open('rules', 9, [], SHARDS.length)
    this.kept = SHARDS.map(() => 0)
    this.answered = [[], [], []]
    // Arrivals of all journals of a collector are later than what any of them has given out.
    this.now = Math.max(this.now, ...this.shards.map((shard) => shard.lastAt), this.rules.lastAt)
    this.#merge()
    if (this.defect === 'each shard by itself') return
    const bounds = commonBounds(this.shards.map((shard) => shard.windows.bounds))
    for (const shard of this.shards) shard.windows.bound(bounds)
  }

  #merge(): void {
    const options = { rules: this.#rules, shards: SHARDS, session: this.#session, keepMs: KEEP_MS, collector: 'c' }
    this.merger = new RulesCore(options, (bodies) => {
      if (!this.works) return false
      const incoming = bodies.map(({ tenant, body }) => ({ door: 'rules' as const, tenant, sender: 'rules', body }))
      for (const outcome of this.rules.take(this.now, incoming)) {
        assert.equal(outcome.kind, 'ok')
        assert.ok(outcome.kind === 'ok' && outcome.value.refused.length === 0)
      }
      return true
    })
  }

  run(one: Op): void {
    if (one.kind === 'send') this.#send(one.shard, one.ago)
    else if (one.kind === 'time') this.#pass(one.ms)
    else if (one.kind === 'deliver') this.#tick(true)
    else if (one.kind === 'rules journal') this.works = one.works
    else if (one.kind === 'rules thread dies') {
      this.#merge()
      for (const shard of this.shards) shard.windows.emitAgain(Math.max(...this.kept))
    } else if (one.kind === 'other rules') {
      this.#rules = CONFIGURATIONS[one.configuration]!
      if (one.crash) this.files.kill()
      else for (const core of [...this.shards, this.rules]) core.close(this.now)
      const counts = one.crash ? [] : [...this.shards, this.rules].map((core) => core.counts)
      for (const one of counts) one.readAgain()
      this.#start(counts)
    } else {
      this.files.kill()
      this.#start()
    }
  }

  #send(n: number, ago: number): void {
    this.now += 1
    const time = this.now - ago
    const series = String(this.sent.length % 3)
    const value = 2 ** (this.sent.length % 40)
    const point = { name: 'm', labels: { shard: String(n), series }, time, value }
    const body = remoteWriteBody([point])
    const [outcome] = this.shards[n]!.take(this.now, [{ door: 'remote_write', tenant: 'default', sender: 's', body }])
    assert.equal(outcome!.kind, 'ok')
    const key = `m${JSON.stringify([
      ['series', series],
      ['shard', String(n)],
    ])}@${time}`
    const before = this.sent.findIndex((one) => one.key === key)
    if (before >= 0) this.sent.splice(before, 1)
    this.sent.push({ key, time, value })
  }

  /** Time passes with the ticks that a running collector makes. */
  #pass(ms: number): void {
    const end = this.now + ms
    while (this.now < end) {
      this.now = Math.min(end, this.now + 1000)
      this.#tick(false)
    }
  }

  #tick(deliver: boolean): void {
    for (const [i, core] of [...this.shards, this.rules].entries()) {
      const isShard = i < SHARDS.length
      const { batches, emission } = core.tick({
        now: this.now,
        stored: this.answered[i]!,
        roomBatches: deliver ? 100 : 0,
        roomBytes: 1e9,
        urgent: false,
        emissionsKept: isShard ? this.kept[i]! : 0,
        takesEmission: isShard,
      })
      this.answered[i] = []
      if (emission !== undefined && isShard) {
        const kept = this.merger.take(SHARDS[i]!, emission)
        this.kept[i] = Math.max(this.kept[i]!, this.defect === 'kept at once' ? emission.time : kept)
      }
      for (const batch of batches) {
        assert.ok(this.store.storeDescribed(batch.bytes, (refs) => core.describe(refs)))
        this.answered[i]!.push(batch)
      }
    }
  }

  /** Everything that was sent is stored, or an output holds it, whichever rules were in force. */
  finishChanged(): void {
    this.#settle()
    const minutes = new Map<number, { sent: number; told: number }>()
    const minuteOf = (time: number): { sent: number; told: number } => {
      const end = Math.ceil(time / 60_000) * 60_000
      const minute = minutes.get(end) ?? { sent: 0, told: 0 }
      minutes.set(end, minute)
      return minute
    }
    for (const { key, time } of this.sent) if (!this.store.points.has(key)) minuteOf(time).sent++
    for (const [key, { value }] of this.store.points) {
      const output = /^[mn]:(\d+)(s|m)_count\[.*@(\d+)$/.exec(key)
      if (output !== null) minuteOf(Number(output[3])).told += value
    }
    for (const [end, { sent, told }] of minutes)
      assert.ok(told >= sent, `minute ${end - NOW}: ${sent} are not stored, and outputs tell of ${told}`)
  }

  #settle(): void {
    this.works = true
    for (let i = 0; i < 100; i++) this.#pass(1000)
    for (let i = 0; i < 20; i++) {
      this.now += 1000
      this.#tick(true)
    }
    for (const core of this.shards)
      assert.equal(waiting(core.counts.of('remote_write', 'sample')), 0, 'something waits')
  }

  finish(): void {
    this.#settle()
    const windows = new Map<number, { all: number[]; raw: number }>()
    for (const { key, time, value } of this.sent) {
      const end = Math.ceil(time / INTERVAL) * INTERVAL
      const window = windows.get(end) ?? { all: [], raw: 0 }
      windows.set(end, window)
      window.all.push(value)
      if (this.store.points.has(key)) window.raw++
    }
    for (const [end, { all, raw }] of windows) {
      const output = (what: string): number =>
        this.store.points.get(`m:10s_${what}${JSON.stringify([['collector', 'c']])}@${end}`)?.value ?? 0
      const count = output('count')
      assert.ok(
        count >= all.length - raw && count <= all.length,
        `window ${end - NOW}: ${count} of ${all.length}, ${raw} of them stored themselves`,
      )
      if (count === all.length)
        assert.equal(
          output('sum'),
          all.reduce((a, b) => a + b, 0),
        )
    }
  }
}

const histories = fc.array(op, { minLength: 1, maxLength: 60, size: 'max' })

function run(defect: Defect, ops: readonly Op[]): void {
  const world = new World(defect)
  for (const one of ops) world.run(one)
  world.finish()
}

function runChanging(defect: Defect, ops: readonly Op[]): void {
  const world = new World(defect)
  for (const one of ops) world.run(one)
  world.finishChanged()
}

test('every input that a rule drops is in an output or stored after all, through any history', () => {
  fc.assert(
    fc.property(histories, (ops) => run('none', ops)),
    { numRuns: 300 },
  )
})

/** A rule is narrowed when its window was given out: the window is left alone. */
const narrowed: Op[] = [
  { kind: 'send', shard: 0, ago: 0 },
  { kind: 'send', shard: 0, ago: 0 },
  { kind: 'time', ms: 12_500 },
  { kind: 'other rules', configuration: 4, crash: false },
  { kind: 'deliver' },
  { kind: 'other rules', configuration: 1, crash: false },
]

test('so it is when rules change, with a restart or without', () => {
  fc.assert(
    fc.property(fc.array(changing, { minLength: 1, maxLength: 60, size: 'max' }), (ops) => runChanging('none', ops)),
    { numRuns: 300, examples: [[narrowed]] },
  )
})

test('control: the same property finds the defect "changes are not written down"', () => {
  const result = fc.check(
    fc.property(fc.array(changing, { minLength: 1, maxLength: 60, size: 'max' }), (ops) =>
      runChanging('changes are not written down', ops),
    ),
    { numRuns: 3000, endOnFailure: true },
  )
  assert.ok(result.failed, 'the defect went unnoticed')
})

for (const defect of ['kept at once', 'each shard by itself'] satisfies Defect[]) {
  test(`control: the same property finds the defect "${defect}"`, () => {
    const result = fc.check(
      fc.property(histories, (ops) => run(defect, ops)),
      { numRuns: 3000, endOnFailure: true },
    )
    assert.ok(result.failed, 'the defect went unnoticed')
  })
}
