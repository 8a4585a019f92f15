/**
 * The samples of a write by series and time. Few writes need it; those that do may have a million of them, so it is one column.
 *
 *     hash of (series, time) ──▶ place ──▶ item + 1, or the next place that is free or its own
 */
import type { Scratch } from './scratch.ts'

const PLACES_MIN = 64
const TWO_32 = 4294967296

export class Instants {
  readonly #scratch: Scratch
  readonly #seed: number
  #places = new Int32Array(PLACES_MIN)
  #used = 0

  /** @param seed random: a sender must not be able to choose times that meet in one place */
  constructor(scratch: Scratch, seed: number) {
    this.#scratch = scratch
    this.#seed = seed
  }

  /** The item that was set for a series and time; undefined: none. */
  get(series: number, time: number): number | undefined {
    const item = this.#places[this.#placeOf(series, time)]! - 1
    return item < 0 ? undefined : item
  }

  /** An item of the columns counts for its series and time from now on. */
  set(item: number): void {
    const place = this.#placeOf(this.#scratch.series[item]!, this.#scratch.times[item]!)
    if (this.#places[place] === 0 && 2 * ++this.#used > this.#places.length) {
      this.#grow()
      this.set(item)
    } else this.#places[place] = item + 1
  }

  /** Where it stands, or would stand. */
  #placeOf(series: number, time: number): number {
    const places = this.#places
    const { series: all, times } = this.#scratch
    const mask = places.length - 1
    let hash = Math.imul(this.#seed ^ series, 0x9e3779b1)
    hash = Math.imul(hash ^ (hash >>> 15) ^ (time | 0), 0x85ebca6b)
    hash = Math.imul(hash ^ (hash >>> 13) ^ Math.floor(time / TWO_32), 0xc2b2ae35)
    for (let place = (hash ^ (hash >>> 16)) & mask; ; place = (place + 1) & mask) {
      const item = places[place]! - 1
      if (item < 0 || (all[item] === series && times[item] === time)) return place
    }
  }

  #grow(): void {
    const before = this.#places
    this.#places = new Int32Array(4 * before.length)
    this.#used = 0
    for (const item of before) if (item > 0) this.set(item - 1)
  }
}
