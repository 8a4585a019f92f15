/**
 * Points of many series in blocks of sixteen, chained per series: appended in constant time, given back from the front,
 * no object per point, and memory that is known to the byte.
 *
 * A series' points come nearly always in the order of time. One that does not is appended all the same and the chain is
 * put in order when it is next read; of two points for one instant the one with the larger arrival stays.
 *
 * Slots and blocks below their counts exist by construction, which is what the `!` on typed arrays relies on.
 */
const BLOCK = 16
const SLAB_BLOCKS = 4096
const NONE = -1

/** Bytes of a block: time, value and arrival of each point, and the link. */
export const BLOCK_BYTES: number = BLOCK * 24 + 4

interface Slab {
  readonly times: Float64Array
  readonly values: Float64Array
  readonly arrivals: Float64Array
  readonly next: Int32Array
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

  /** Memory of the blocks in use. */
  get bytes(): number {
    return this.#used * BLOCK_BYTES
  }

  isEmpty(slot: number): boolean {
    return slot >= this.#first.length || this.#first[slot] === NONE
  }

  add(slot: number, time: number, value: number, arrival: number): void {
    if (slot >= this.#first.length) this.#growSlots(slot)
    const last = this.#last[slot]!
    if (last === NONE) this.#newest[slot] = Number.NEGATIVE_INFINITY
    const newest = this.#newest[slot]!
    if (time > newest) this.#newest[slot] = time
    else if (time === newest && this.#unordered[slot] === 0) {
      this.#replaceNewest(slot, value, arrival)
      return
    } else this.#unordered[slot] = 1
    this.#append(slot, time, value, arrival)
  }

  /** Visits the points with from ≤ time ≤ to in the order of time. */
  read(slot: number, from: number, to: number, visit: PointVisitor): void {
    if (this.isEmpty(slot)) return
    if (this.#unordered[slot] === 1) this.#order(slot)
    const lastBlock = this.#last[slot]!
    for (let block = this.#first[slot]!; block !== NONE; ) {
      const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
      const at = (block % SLAB_BLOCKS) * BLOCK
      const n = block === lastBlock ? this.#fill[slot]! : BLOCK
      if (slab.times[at]! > to) return
      if (slab.times[at + n - 1]! >= from) {
        for (let i = at; i < at + n; i++) {
          const time = slab.times[i]!
          if (time >= from && time <= to) visit(time, slab.values[i]!, slab.arrivals[i]!)
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
    const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
    const at = (block % SLAB_BLOCKS) * BLOCK
    for (let i = at + this.#fill[slot]! - 1; i >= at; i--) {
      const time = slab.times[i]!
      if (time < from) return Number.NEGATIVE_INFINITY
      if (time <= to && Number.isFinite(slab.values[i])) return time
    }
    // Seldom: chains lead forward only.
    let latest = Number.NEGATIVE_INFINITY
    this.read(slot, from, to, (time, value) => {
      if (Number.isFinite(value)) latest = time
    })
    return latest
  }

  /** Gives back the blocks of a series that lie wholly before `time`. */
  dropBefore(slot: number, time: number): void {
    if (this.isEmpty(slot)) return
    if (this.#unordered[slot] === 1) this.#order(slot)
    let block = this.#first[slot]!
    while (block !== NONE) {
      const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
      const n = block === this.#last[slot] ? this.#fill[slot]! : BLOCK
      if (slab.times[(block % SLAB_BLOCKS) * BLOCK + n - 1]! >= time) break
      const next = slab.next[block % SLAB_BLOCKS]!
      this.#release(block)
      block = next
    }
    this.#first[slot] = block
    if (block === NONE) this.#last[slot] = NONE
  }

  #append(slot: number, time: number, value: number, arrival: number): void {
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
    const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
    const at = (block % SLAB_BLOCKS) * BLOCK + fill
    slab.times[at] = time
    slab.values[at] = value
    slab.arrivals[at] = arrival
    this.#fill[slot] = fill + 1
  }

  /** Another value for the newest instant: the later arrival stays. */
  #replaceNewest(slot: number, value: number, arrival: number): void {
    const block = this.#last[slot]!
    const slab = this.#slabs[(block / SLAB_BLOCKS) | 0]!
    const at = (block % SLAB_BLOCKS) * BLOCK + this.#fill[slot]! - 1
    if (arrival <= slab.arrivals[at]!) return
    slab.values[at] = value
    slab.arrivals[at] = arrival
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
      if (points[i + 1]?.[0] !== time) this.#append(slot, time, value, arrival)
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
      const points = SLAB_BLOCKS * BLOCK
      this.#slabs.push({
        times: new Float64Array(points),
        values: new Float64Array(points),
        arrivals: new Float64Array(points),
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
