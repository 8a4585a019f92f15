/**
 * Batches of collectors come in here: made visible at once, stored, and answered when they are.
 *
 *     bytes ──▶ decode ──▶ series known? ──▶ hot series (visible) ──▶ store ──▶ answer "stored"
 *                              │ no: the answer says which, the collector describes them
 *
 * Histograms, exemplars and metadata go to the store only, with the first samples of their batch.
 *
 * Sending a batch again, in any cut, changes nothing: a point is (tenant, series, time), the larger arrival wins. The same range of
 * the same journal is not even taken again: it gets the answer of the first one, which it may have missed because an insert took
 * longer than the collector waits. Taking it again each time, such inserts would never be answered.
 */
import { mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import { freeNow } from '../../proto/runtime/free-now.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import type { BatchHeader, OpenBatch, SampleColumns, SeriesDefinition } from '../../proto/wire/batch.ts'
import { openBatch } from '../../proto/wire/batch.ts'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import { decimalValue, RAW_FLOAT } from '../../proto/wire/decimal.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { HotSeries, Pending } from '../hot/hot-series.ts'
import type { SeriesGroup, SeriesRegistry } from '../hot/series-registry.ts'
import { bytesOf } from '../store/native.ts'
import type { Store } from '../store/store.ts'
import { Dictionary } from './dictionary.ts'
import type { ExtrasOfBatch } from './extras-of-batch.ts'
import { NO_EXTRAS, readExtrasOfBatch } from './extras-of-batch.ts'
import type { LateSamples } from './late-samples.ts'
import { RefusedBatches } from './refused-batches.ts'
import type { Watermarks } from './watermarks.ts'

/** How a batch is answered. */
export type IntakeAnswer =
  /** All of them, but those that are too old to be kept. */
  | { readonly kind: 'stored'; readonly expired: number }
  | { readonly kind: 'need'; readonly refs: readonly number[] }
  /** Not as it was sent: bits were changed on the way. */
  | { readonly kind: 'damaged'; readonly reason: string }
  /** As it was sent, and not readable: kept aside. */
  | { readonly kind: 'unreadable'; readonly reason: string }
  /** Of a newer version. */
  | { readonly kind: 'newer'; readonly reason: string }
  /** No room: later. */
  | { readonly kind: 'full' }

export interface IntakeOptions {
  readonly quarantine: string
  /** Points older than this are about to expire and are not stored, ms. */
  readonly lateMaxMs: number
  /** Called before anything of a batch is visible; when it gives a promise, that is awaited. */
  readonly before?: (collector: string) => Promise<void> | undefined
  /** Told of late samples once they are visible. */
  readonly late?: { readonly afterMs: number; readonly told: (samples: LateSamples) => void }
  readonly clock: Clock
  readonly log: Logger
}

/** Of items by kind, in the order of `ITEM_KINDS`: received = stored + refused (answered "later") + expired + waiting, at any moment. */
export interface IntakeCounts {
  readonly received: number[]
  readonly expired: number[]
  readonly stored: number[]
  readonly refused: number[]
  /** Of batches. */
  batches: number
  bytes: number
  needs: number
  /** Batches that were answered with what an earlier one had brought. */
  repeated: number
  unreadable: number
}

/** A part of a batch that the store has taken: how many items of each kind. */
interface Stored {
  readonly done: Promise<void>
  readonly kinds: readonly number[]
}

const TWO_32 = 4294967296
const NEED_MAX = 100_000
/** Samples that are taken in one turn of the event loop: a few ms. */
const SLICE = 10_000
const SWEEP_EVERY_MS = 600_000
const SWEEP_LATEST_MS = 1_200_000
/** A session or page that nobody used for this long is forgotten. */
const IDLE_MS = 3_600_000

export class Intake {
  readonly #registry: SeriesRegistry
  readonly #hot: HotSeries
  readonly #store: Store
  readonly #marks: { readonly visible: Watermarks; readonly stored: Watermarks }
  readonly #options: IntakeOptions
  readonly #refused: RefusedBatches
  readonly #sessions = new Map<string, Dictionary>()
  /** By their ranges, batches that wait for the store; as many as it has room for. */
  readonly #underWay = new Map<string, Promise<IntakeAnswer>>()
  #sweptAt: number
  readonly #counts: IntakeCounts = {
    received: noItems(),
    expired: noItems(),
    stored: noItems(),
    refused: noItems(),
    batches: 0,
    bytes: 0,
    needs: 0,
    repeated: 0,
    unreadable: 0,
  }
  #quarantined = 0
  /** Used again for each part of a batch. */
  #values: Float64Array = new Float64Array(SLICE)

  constructor(
    registry: SeriesRegistry,
    hot: HotSeries,
    store: Store,
    marks: { readonly visible: Watermarks; readonly stored: Watermarks },
    options: IntakeOptions,
  ) {
    this.#marks = marks
    this.#registry = registry
    this.#hot = hot
    this.#refused = new RefusedBatches((pending) => hot.stored(pending))
    this.#store = store
    this.#options = options
    this.#sweptAt = options.clock.now()
    mkdirSync(options.quarantine, { recursive: true })
  }

  get counts(): Readonly<IntakeCounts> {
    return this.#counts
  }

  get sessions(): number {
    return this.#sessions.size
  }

  /**
   * Takes a batch. Resolves when its rows are stored, or at once when they will not be.
   * @param unproven of who cannot say yet that everything up to the batch's cursor is stored: gets its header, for {@link proven}
   */
  async receive(bytes: Uint8Array, unproven?: BatchHeader[]): Promise<IntakeAnswer> {
    let batch: OpenBatch
    try {
      batch = openBatch(bytes)
    } catch (error) {
      if (error instanceof WireError) return this.#undecodable(bytes, error)
      throw error
    }
    const { header } = batch
    if (unproven === undefined) this.#refused.storedUpTo(header)
    else unproven.push(header)
    const range = rangeOf(header)
    const first = header.to > header.from ? this.#earlier(header, range) : undefined
    if (first !== undefined) {
      this.#counts.repeated++
      // What comes behind it refers to its definitions: nobody else says them again.
      const unreadable = await this.#define(batch, bytes)
      if (unreadable !== undefined) return unreadable
      if (header.urgent) this.#store.flush()
      return first
    }
    const answer = this.#receive(batch, bytes, unproven === undefined)
    this.#underWay.set(range, answer)
    try {
      return await answer
    } finally {
      this.#underWay.delete(range)
    }
  }

  /** Everything up to the cursors of these batches is stored. */
  proven(headers: readonly BatchHeader[]): void {
    for (const header of headers) {
      this.#marks.visible.proven(header)
      this.#marks.stored.proven(header)
      this.#refused.storedUpTo(header)
    }
  }

  /** What a batch of this range was, or will be, answered. */
  #earlier(header: BatchHeader, range: string): Promise<IntakeAnswer> | undefined {
    if (this.#marks.stored.has(header)) return Promise.resolve({ kind: 'stored', expired: 0 })
    return this.#underWay.get(range)
  }

  async #receive(batch: OpenBatch, bytes: Uint8Array, proven: boolean): Promise<IntakeAnswer> {
    const { header, samples, extras, starts } = batch
    const newcomer = this.#options.before?.(header.collector)
    if (newcomer !== undefined) await newcomer
    const now = this.#options.clock.now()
    this.#counts.batches++
    this.#counts.bytes += bytes.length
    const dictionary = this.#session(header)
    const unreadable = await this.#define(batch, bytes)
    if (unreadable !== undefined) return unreadable
    const slots = new Int32Array(samples.count)
    const others = Uint32Array.from([...starts, ...extras.filter((extra) => extra.kind !== 'metadata')], (x) => x.ref)
    const otherSlots = new Int32Array(others.length)
    const unknown = dictionary.translate(samples.refs, slots, now)
    if (others.length > 0) unknown.push(...dictionary.translate(others, otherSlots, now))
    if (unknown.length > 0) {
      this.#counts.needs++
      return { kind: 'need', refs: [...new Set(unknown)].slice(0, NEED_MAX) }
    }
    if (samples.count + extras.length + starts.length === 0) {
      this.#marks.visible.received(header, now, proven)
      this.#marks.stored.received(header, now, proven)
      return { kind: 'stored', expired: 0 }
    }
    let aside = NO_EXTRAS
    try {
      if (extras.length + starts.length > 0)
        aside = await readExtrasOfBatch(extras, starts, otherSlots, now - this.#options.lateMaxMs)
    } catch (error) {
      if (error instanceof WireError) return this.#undecodable(bytes, error)
      throw error
    }
    const pending = this.#hot.begin()
    const storing: Stored[] = []
    for (let start = 0; start === 0 || start < samples.count; start += SLICE) {
      if (start > 0) await nextTurn()
      const end = Math.min(samples.count, start + SLICE)
      const part = this.#take(samples, slots, start, end, pending, now, start === 0 ? aside : NO_EXTRAS)
      if (part !== undefined) {
        storing.push(part)
        continue
      }
      // The engine is away for long. What comes stays visible, and will come again.
      this.#refused.add(header, pending, now)
      void this.#settle(storing)
      return { kind: 'full' }
    }
    this.#marks.visible.received(header, now, proven)
    this.#tellLate(samples, slots)
    // Until the rows are stored nobody needs them, and the next batch is here before.
    freeNow(samples.memory)
    freeNow(bytesOf(slots))
    if (header.urgent) this.#store.flush()
    const rows = await this.#settle(storing)
    this.#hot.stored(pending)
    this.#marks.stored.received(header, now, proven)
    return { kind: 'stored', expired: samples.count + extras.length - rows }
  }

  /**
   * Learns what a batch's references mean; batches of a session one after the other, since later ones refer to what earlier ones define.
   * @returns what is answered where that cannot be read
   */
  async #define({ header, definitions }: OpenBatch, bytes: Uint8Array): Promise<IntakeAnswer | undefined> {
    try {
      const slotOf = (definition: SeriesDefinition): number => this.#registry.slotOf(definition)
      await this.#session(header).learn(definitions, slotOf, this.#options.clock.now())
      return undefined
    } catch (error) {
      if (error instanceof WireError) return this.#undecodable(bytes, error)
      throw error
    }
  }

  #tellLate({ times, arrivals, count }: SampleColumns, slots: Int32Array): void {
    const { late } = this.#options
    if (late === undefined) return
    const lateMicros = late.afterMs * 1000
    const oldest = new Map<readonly SeriesGroup[], number>()
    for (let i = 0; i < count; i++) {
      const time = times[i]!
      if (arrivals[i]! - time * 1000 <= lateMicros) continue
      const nodes = this.#registry.groupsAt(slots[i]!)
      if (nodes.length > 0 && time < (oldest.get(nodes) ?? Number.POSITIVE_INFINITY)) oldest.set(nodes, time)
    }
    for (const [nodes, time] of oldest)
      for (const { tenant, name: node } of nodes) late.told({ tenant, node, oldest: time })
  }

  /** Waits until the parts of a batch are stored. @returns how many items they have */
  async #settle(storing: readonly Stored[]): Promise<number> {
    let sum = 0
    for (const { done, kinds } of storing) {
      await done
      for (const [i, n] of kinds.entries()) {
        this.#counts.stored[i]! += n
        sum += n
      }
    }
    return sum
  }

  /** The points [start, end) into memory and into the store's buffer, in one pass; undefined when that has no room. */
  #take(
    samples: SampleColumns,
    slots: Int32Array,
    start: number,
    end: number,
    pending: Pending,
    now: number,
    aside: ExtrasOfBatch,
  ): Stored | undefined {
    const oldest = now - this.#options.lateMaxMs
    const { times, arrivals } = samples
    const toHot = (): void => {
      const points = { times, arrivals, values: this.#valuesOf(samples, start, end) }
      this.#hot.addAll(pending, slots, points, start, end, oldest)
    }
    let expired = 0
    const received = [end - start + aside.received[0]!, ...aside.received.slice(1)]
    add(this.#counts.received, received)
    const done = this.#store.add(end - start + aside.rows, ({ rows, extras, isDescribed, describe }) => {
      expired = end - start - rows.append(this.#registry, samples, slots, start, end, oldest)
      for (let i = start; i < end; i++)
        if (!isDescribed(slots[i]!) && times[i]! >= oldest) describe(slots[i]!, this.#registry.get(slots[i]!))
      toHot()
      aside.fill(extras, (slot) => {
        const series = this.#registry.get(slot)
        if (!isDescribed(slot)) describe(slot, series)
        return series
      })
    })
    if (done === undefined) {
      toHot()
      add(this.#counts.refused, received)
      return undefined
    }
    const gone = [expired, ...aside.expired.slice(1)]
    add(this.#counts.expired, gone)
    return { done, kinds: received.map((n, i) => n - gone[i]!) }
  }

  /** The values of the samples [start, end), each at its place; valid until the next call. */
  #valuesOf({ exponents, words }: SampleColumns, start: number, end: number): Float64Array {
    if (this.#values.length < end) this.#values = new Float64Array(Math.max(end, 2 * this.#values.length))
    const values = this.#values
    const floats = new Float64Array(words.buffer, words.byteOffset, exponents.length)
    for (let i = start; i < end; i++) {
      const exponent = exponents[i]!
      values[i] =
        exponent === RAW_FLOAT ? floats[i]! : decimalValue((words[2 * i + 1]! | 0) * TWO_32 + words[2 * i]!, exponent)
    }
    return values
  }

  /** Forgets sessions, references and series that nobody has used for an hour. */
  sweep(now: number): void {
    const since = now - this.#sweptAt
    if (since < SWEEP_EVERY_MS || (this.#hot.pinned && since < SWEEP_LATEST_MS)) return
    // Queries that follow each other without a gap begin again once.
    if (this.#hot.pinned) this.#hot.invalidate()
    this.#sweptAt = now
    this.#refused.sweep(now - IDLE_MS)
    this.#marks.visible.sweep(now - IDLE_MS)
    this.#marks.stored.sweep(now - IDLE_MS)
    const used = new Uint8Array(this.#registry.slots)
    for (const [key, dictionary] of this.#sessions) {
      if (dictionary.usedAt < now - IDLE_MS) this.#sessions.delete(key)
      else dictionary.sweep(now - IDLE_MS, used)
    }
    for (let slot = 0; slot < used.length; slot++) {
      if (used[slot] === 1 || !this.#registry.has(slot) || !this.#hot.isEmpty(slot)) continue
      this.#registry.release(slot)
      this.#store.forget(slot)
    }
  }

  #session({ collector, session, shard }: BatchHeader): Dictionary {
    const key = `${collector}/${session}/${shard}`
    let dictionary = this.#sessions.get(key)
    if (dictionary === undefined) {
      dictionary = new Dictionary()
      this.#sessions.set(key, dictionary)
    }
    return dictionary
  }

  async #undecodable(bytes: Uint8Array, error: WireError): Promise<IntakeAnswer> {
    if (error.code === 'unsupported') return { kind: 'newer', reason: error.message }
    if (error.code === 'checksum') return { kind: 'damaged', reason: error.message }
    this.#counts.unreadable++
    const file = join(this.#options.quarantine, `batch-${this.#options.clock.now()}-${this.#quarantined++}.bin`)
    this.#options.log.error({ file, reason: error.message }, 'batch cannot be read, kept aside')
    // The collector goes on after this answer: when there is no copy, it has to keep its own.
    await writeFile(file, bytes, { flush: true })
    return { kind: 'unreadable', reason: error.message }
  }
}

function rangeOf({ collector, session, shard, from, to }: BatchHeader): string {
  return `${collector}/${session}/${shard}/${from}-${to}`
}

function noItems(): number[] {
  return ITEM_KINDS.map(() => 0)
}

function add(sum: number[], more: readonly number[]): void {
  for (const [i, n] of more.entries()) sum[i]! += n
}
