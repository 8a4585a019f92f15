/**
 * Points of many series in blocks of sixteen, chained per series: appended in constant time, given back from the front,
 * no object per point, and memory that is known to the byte.
 *
 * A series' points come nearly always in the order of time. One that does not is put into its place where that is in the last block;
 * else it is appended all the same, and the chain is put in order when it is next read. Of two points for one instant the one with the
 * larger arrival stays.
 *
 * Slots and blocks below their counts exist by construction, which is what the `!` on typed arrays relies on.
 */
const BLOCK = 16
const SLAB_BLOCKS = 4096
const NONE = -1
/** Numbers of a point. */
const WIDTH = 3

/** Bytes of a block: time, value and arrival of each point, and the link. */
export const BLOCK_BYTES: number = BLOCK * 24 + 4

interface Slab {
  /** Time, value and arrival of a point stand together: adding it then touches one line of the processor's cache, not three. */
  readonly points: Float64Array
  readonly next: Int32Array
}

/** Points in columns, one element each. */
export interface PointColumns {
  /** ms */
  readonly times: Float64Array
  readonly values: Float64Array
  /** µs */
  readonly arrivals: Float64Array
}

export type PointVisitor = (time: number, value: number, arrival: number) => void

export class PointChains {
  readonly #slabs: Slab[] = []
  #freeBlock = NONE
  #blocks = 0
  #used = 0
  #first: Int32Array = new Int32Array(1024).fill(NONE)
  #last: Int32Array = new Int32Array(1024).fill(NONE)
  /** Points in the last block. */
  #fill: Uint8Array = new Uint8Array(1024)
  #newest: Float64Array = new Float64Array(1024)
  #unordered: Uint8Array = new Uint8Array(1024)
  readonly #one: PointColumns = {
    times: new Float64Array(1),
    values: new Float64Array(1),
    arrivals: new Float64Array(1),
  }

  /** Memory of the blocks in use. */
  get bytes(): number {
    return this.#used * BLOCK_BYTES
  }

  isEmpty(slot: number): boolean {
    return slot >= this.#first.length || this.#first[slot] === NONE
  }

  /** Time of the newest point of a series; -Infinity when there is none. */
  newest(slot: number): number {
    return this.isEmpty(slot) ? Number.NEGATIVE_INFINITY : this.#newest[slot]!
  }

  add(slot: number, time: number, value: number, arrival: number): void {
    const { times, values, arrivals } = this.#one
    times[0] = time
    values[0] = value
    arrivals[0] = arrival
    this.addFrom(slot, this.#one, 0)
  }

  /** Adds the i-th of these points. Numbers given one by one would have to be put on the heap, for each point. */
  addFrom(slot: number, points: PointColumns, i: number): void {
    if (slot >= this.#first.length) this.#growSlots(slot)
    const time = points.times[i]!
    if (this.#last[slot] === NONE) this.#newest[slot] = Number.NEGATIVE_INFINITY
    const newest = this.#newest[slot]!
    if (time > newest) this.#newest[slot] = time
    else if (time === newest && this.#unordered[slot] === 0) {
      this.#replaceNewest(slot, points.values[i]!, points.arrivals[i]!)
      return
    } else if (this.#unordered[slot] === 0) {
      if (this.#insert(slot, points, i)) return
      this.#unordered[slot] = 1
    }
    const at = this.#placeFor(slot)
    const slab = this.#slabs[(this.#last[slot]! / SLAB_BLOCKS) | 0]!.points
    slab[at] = time
    slab[at + 1] = points.values[i]!
    slab[at + 2] = points.arrivals[i]!
  }

  /** Visits the points with from ≤ time ≤ to in the order of time. */
  read(slot: number, from: number, to: number, visit: PointVisitor): void {
    if (this.isEmpty(slot)) return
    if (this.#unordered[slot] === 1) this.#order(slot)
    const lastBlock = this.#last[slot]!
    for (let block = this.#first[slot]!; block !== NONE; ) {
      const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
      const { points } = slab
      const at = (block % SLAB_BLOCKS) * BLOCK * WIDTH
      const end = at + (block === lastBlock ? this.#fill[slot]! : BLOCK) * WIDTH
      if (points[at]! > to) return
      if (points[end - WIDTH]! >= from) {
        for (let i = at; i < end; i += WIDTH) {
          const time = points[i]!
          if (time >= from && time <= to) visit(time, points[i + 1]!, points[i + 2]!)
        }
      }
      block = slab.next[block % SLAB_BLOCKS]!
    }
  }

  /** Time of the newest point with from ≤ time ≤ to that has a finite value; -Infinity when there is none. */
  latest(slot: number, from: number, to: number): number {
    if (this.isEmpty(slot)) return Number.NEGATIVE_INFINITY
    if (this.#unordered[slot] === 1) this.#order(slot)
    const block = this.#last[slot]!
    const { points } = this.#slabs[(block / SLAB_BLOCKS) | 0]!
    const at = (block % SLAB_BLOCKS) * BLOCK * WIDTH
    for (let i = at + (this.#fill[slot]! - 1) * WIDTH; i >= at; i -= WIDTH) {
      const time = points[i]!
      if (time < from) return Number.NEGATIVE_INFINITY
      if (time <= to && Number.isFinite(points[i + 1])) return time
    }
    // Seldom: chains lead forward only.
    let latest = Number.NEGATIVE_INFINITY
    this.read(slot, from, to, (time, value) => {
      if (Number.isFinite(value)) latest = time
    })
    return latest
  }

  /** Gives back the blocks of a series, from its front, that lie wholly before `time`. A chain is not put in order for it: that is all of it. */
  dropBefore(slot: number, time: number): void {
    if (this.isEmpty(slot)) return
    let block = this.#first[slot]!
    while (block !== NONE) {
      const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
      const n = block === this.#last[slot] ? this.#fill[slot]! : BLOCK
      const start = (block % SLAB_BLOCKS) * BLOCK * WIDTH
      const end = start + n * WIDTH
      // Of one in order the last point tells.
      let at = this.#unordered[slot] === 1 ? start : end - WIDTH
      while (at < end && slab.points[at]! < time) at += WIDTH
      if (at < end) break
      const next = slab.next[block % SLAB_BLOCKS]!
      this.#release(block)
      block = next
    }
    this.#first[slot] = block
    if (block === NONE) this.#last[slot] = NONE
  }

  /** Room for one more point at the end of a chain. @returns where in the slab of its last block */
  #placeFor(slot: number): number {
    let block = this.#last[slot]!
    let fill = this.#fill[slot]!
    if (block === NONE || fill === BLOCK) {
      const taken = this.#take()
      if (block === NONE) this.#first[slot] = taken
      else this.#slabs[(block / SLAB_BLOCKS) | 0]!.next[block % SLAB_BLOCKS] = taken
      this.#last[slot] = taken
      block = taken
      fill = 0
    }
    this.#fill[slot] = fill + 1
    return ((block % SLAB_BLOCKS) * BLOCK + fill) * WIDTH
  }

  /** Puts the i-th of these points, which is older than the newest one, into its place. @returns false where that is not in the last block */
  #insert(slot: number, { times, values, arrivals }: PointColumns, i: number): boolean {
    const time = times[i]!
    const block = this.#last[slot]!
    const { points } = this.#slabs[(block / SLAB_BLOCKS) | 0]!
    const start = (block % SLAB_BLOCKS) * BLOCK * WIDTH
    const end = start + this.#fill[slot]! * WIDTH
    if (time < points[start]! && block !== this.#first[slot]) return false
    let at = end
    while (at > start && points[at - WIDTH]! > time) at -= WIDTH
    if (at > start && points[at - WIDTH] === time) {
      if (arrivals[i]! <= points[at - 1]!) return true
      at -= WIDTH
    } else {
      // The last one makes room: in this block, or in the next one.
      const last = end - WIDTH
      const place = this.#placeFor(slot)
      const slab = this.#slabs[(this.#last[slot]! / SLAB_BLOCKS) | 0]!.points
      for (let k = 0; k < WIDTH; k++) slab[place + k] = points[last + k]!
      points.copyWithin(at + WIDTH, at, last)
    }
    points[at] = time
    points[at + 1] = values[i]!
    points[at + 2] = arrivals[i]!
    return true
  }

  /** Another value for the newest instant: the later arrival stays. */
  #replaceNewest(slot: number, value: number, arrival: number): void {
    const block = this.#last[slot]!
    const { points } = this.#slabs[(block / SLAB_BLOCKS) | 0]!
    const at = ((block % SLAB_BLOCKS) * BLOCK + this.#fill[slot]! - 1) * WIDTH
    if (arrival <= points[at + 2]!) return
    points[at + 1] = value
    points[at + 2] = arrival
  }

  /** Sorts a chain by time and keeps one point an instant. */
  #order(slot: number): void {
    this.#unordered[slot] = 0
    const points: [time: number, value: number, arrival: number][] = []
    this.read(slot, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, (time, value, arrival) =>
      points.push([time, value, arrival]),
    )
    points.sort((a, b) => a[0] - b[0] || a[2] - b[2])
    for (let block = this.#first[slot]!; block !== NONE; ) {
      const next = this.#slabs[(block / SLAB_BLOCKS) | 0]!.next[block % SLAB_BLOCKS]!
      this.#release(block)
      block = next
    }
    this.#first[slot] = NONE
    this.#last[slot] = NONE
    for (const [i, [time, value, arrival]] of points.entries()) {
      if (points[i + 1]?.[0] === time) continue
      const at = this.#placeFor(slot)
      this.#slabs[(this.#last[slot]! / SLAB_BLOCKS) | 0]!.points.set([time, value, arrival], at)
    }
  }

  #take(): number {
    this.#used++
    if (this.#freeBlock !== NONE) {
      const block = this.#freeBlock
      const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
      this.#freeBlock = slab.next[block % SLAB_BLOCKS]!
      slab.next[block % SLAB_BLOCKS] = NONE
      return block
    }
    if (this.#blocks % SLAB_BLOCKS === 0) {
      this.#slabs.push({
        points: new Float64Array(SLAB_BLOCKS * BLOCK * WIDTH),
        next: new Int32Array(SLAB_BLOCKS).fill(NONE),
      })
    }
    return this.#blocks++
  }

  #release(block: number): void {
    this.#slabs[(block / SLAB_BLOCKS) | 0]!.next[block % SLAB_BLOCKS] = this.#freeBlock
    this.#freeBlock = block
    this.#used--
  }

  #growSlots(slot: number): void {
    const capacity = Math.max(this.#first.length * 2, slot + 1)
    const first = new Int32Array(capacity).fill(NONE)
    const last = new Int32Array(capacity).fill(NONE)
    const fill = new Uint8Array(capacity)
    const newest = new Float64Array(capacity)
    const unordered = new Uint8Array(capacity)
    first.set(this.#first)
    last.set(this.#last)
    fill.set(this.#fill)
    newest.set(this.#newest)
    unordered.set(this.#unordered)
    this.#first = first
    this.#last = last
    this.#fill = fill
    this.#newest = newest
    this.#unordered = unordered
  }
}
