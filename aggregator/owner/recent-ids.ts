/**
 * Ids of all logged events whose own time is t0 or later: of such an event the set alone says whether it was logged. Of older ones it
 * says nothing, and they are looked up. When the set is full, t0 rises over half of it.
 *
 * One table of numbers, open addressing: an id is 128 bits and the number of its tenant, nothing is hashed away, so that no event is ever
 * taken for another one.
 */

const WORDS = 5
const SLOTS_AT_FIRST = 1024
/** A time of which none is later. */
const NONE = Number.NaN
/** Times that the new t0 is found from. */
const PROBES = 1023

export class RecentIds {
  readonly #max: number
  readonly #tenants = new Map<string, number>()
  #keys = new Uint32Array(SLOTS_AT_FIRST * WORDS)
  #times: Float64Array = new Float64Array(SLOTS_AT_FIRST).fill(NONE)
  #count = 0
  #t0: number
  readonly #words = new Uint32Array(WORDS)

  /**
   * @param t0 ms since the epoch; ids of events at that time or later will all be added
   * @param max most ids that are kept
   */
  constructor(t0: number, max: number) {
    this.#t0 = t0
    this.#max = max
  }

  /** Of events at this time or later, the set has every id that was added. */
  get t0(): number {
    return this.#t0
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#keys.byteLength + this.#times.byteLength
  }

  has(tenant: string, eventId: string): boolean {
    return !Number.isNaN(this.#times[this.#slotOf(tenant, eventId)]!)
  }

  /** @param time the event's own, ms; one before t0 is not kept */
  add(tenant: string, eventId: string, time: number): void {
    if (time < this.#t0 || this.has(tenant, eventId)) return
    if (this.#count >= this.#max) this.#raise()
    if (time < this.#t0) return
    if (2 * (this.#count + 1) > this.#times.length) this.#rebuild(2 * this.#times.length)
    const slot = this.#slotOf(tenant, eventId)
    this.#keys.set(this.#words, slot * WORDS)
    this.#times[slot] = time
    this.#count++
  }

  /** The slot that has the id, or the empty one where it belongs; its words are left in `#words`. */
  #slotOf(tenant: string, eventId: string): number {
    const words = this.#words
    let number = this.#tenants.get(tenant)
    if (number === undefined) {
      number = this.#tenants.size + 1
      this.#tenants.set(tenant, number)
    }
    words[0] = number
    uuidWords(eventId, words)
    return this.#find(words, 0)
  }

  #find(words: Uint32Array, at: number): number {
    const keys = this.#keys
    const times = this.#times
    const mask = times.length - 1
    let hash = Math.imul(words[at]!, 0x9e3779b1)
    for (let i = 1; i < WORDS; i++) hash = Math.imul(hash ^ words[at + i]!, 0x85ebca6b) ^ (hash >>> 15)
    let slot = (hash ^ (hash >>> 16)) & mask
    for (; !Number.isNaN(times[slot]!); slot = (slot + 1) & mask) {
      let i = 0
      while (i < WORDS && keys[slot * WORDS + i] === words[at + i]) i++
      if (i === WORDS) break
    }
    return slot
  }

  /** t0 rises to about the middle of the times that are there; always by something. */
  #raise(): void {
    const times: number[] = []
    const step = Math.max(1, Math.floor(this.#times.length / PROBES))
    for (let i = 0; i < this.#times.length; i += step) if (!Number.isNaN(this.#times[i]!)) times.push(this.#times[i]!)
    times.sort((a, b) => a - b)
    this.#t0 = Math.max(this.#t0, times[times.length >> 1] ?? this.#t0) + 1
    this.#rebuild(this.#times.length)
  }

  #rebuild(slots: number): void {
    const [keys, times] = [this.#keys, this.#times]
    this.#keys = new Uint32Array(slots * WORDS)
    this.#times = new Float64Array(slots).fill(NONE)
    this.#count = 0
    for (let from = 0; from < times.length; from++) {
      if (!(times[from]! >= this.#t0)) continue
      const to = this.#find(keys, from * WORDS)
      this.#keys.set(keys.subarray(from * WORDS, from * WORDS + WORDS), to * WORDS)
      this.#times[to] = times[from]!
      this.#count++
    }
  }
}

/** The 32 digits of a UUID as words 1 to 4. */
function uuidWords(id: string, into: Uint32Array): void {
  let word = 0
  let digits = 0
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i)
    if (code === 45) continue
    word = (word << 4) | (code > 57 ? code - 87 : code - 48)
    if ((++digits & 7) === 0) into[digits >> 3] = word
  }
}
