/**
 * Which events came lately, and where they stand in the journal: a repeat is answered as one, and not journalled again. Bounded: two
 * halves, and where the newer one is full the older one is forgotten. What is forgotten is taken again, and harmless by identity.
 *
 * An id is compared in all of its 128 bits and with its tenant's number: what one tenant sends can never pass for another's.
 */
const WORDS = 5 // of the id four, and the tenant
const SLOTS_AT_FIRST = 1024
const FREE = 0

export class RecentIds {
  readonly #halfMax: number
  readonly #seed: number
  #newer: IdTable
  #older: IdTable
  /** The id in hand, and its words. */
  #id = ''
  readonly #words = new Uint32Array(4)

  /**
   * @param max most ids that are known at a time
   * @param seed of the hash table, random
   */
  constructor(max: number, seed: number) {
    this.#halfMax = Math.ceil(max / 2)
    this.#seed = seed
    this.#newer = new IdTable(seed)
    this.#older = new IdTable(seed)
  }

  get count(): number {
    return this.#newer.count + this.#older.count
  }

  /** @param id a UUID, lower case. @returns its position in the journal; undefined: it is not known */
  position(tenant: string, id: string): number | undefined {
    const words = this.#read(id)
    return this.#newer.get(tenant, words) ?? this.#older.get(tenant, words)
  }

  add(tenant: string, id: string, position: number): void {
    if (this.#newer.count >= this.#halfMax) {
      this.#older = this.#newer
      this.#newer = new IdTable(this.#seed)
    }
    this.#newer.set(tenant, this.#read(id), position)
  }

  /** It was not kept after all. */
  forget(tenant: string, id: string): void {
    const words = this.#read(id)
    this.#newer.forget(tenant, words)
    this.#older.forget(tenant, words)
  }

  /** What is looked for is added next: it is read once. */
  #read(id: string): Uint32Array {
    if (id !== this.#id) readWords(id, this.#words)
    this.#id = id
    return this.#words
  }
}

/** Open addressing over plain words: no object for each id. */
class IdTable {
  readonly #tenants = new Map<string, number>()
  #slots = SLOTS_AT_FIRST
  #words = new Uint32Array(WORDS * SLOTS_AT_FIRST)
  /** NaN: forgotten. */
  #positions = new Float64Array(SLOTS_AT_FIRST)
  #count = 0
  readonly #seed: number

  constructor(seed: number) {
    this.#seed = seed
  }

  get count(): number {
    return this.#count
  }

  get(tenant: string, id: Uint32Array): number | undefined {
    const number = this.#tenants.get(tenant)
    if (number === undefined) return undefined
    const slot = this.#find(number, id)
    const position = this.#positions[slot]!
    return this.#words[WORDS * slot] === FREE || Number.isNaN(position) ? undefined : position
  }

  set(tenant: string, id: Uint32Array, position: number): void {
    let number = this.#tenants.get(tenant)
    if (number === undefined) {
      number = this.#tenants.size + 1
      this.#tenants.set(tenant, number)
    }
    if (2 * this.#count >= this.#slots) this.#grow()
    const slot = this.#find(number, id)
    const at = WORDS * slot
    if (this.#words[at] === FREE) this.#count++
    this.#words[at] = number
    for (let i = 0; i < 4; i++) this.#words[at + 1 + i] = id[i]!
    this.#positions[slot] = position
  }

  forget(tenant: string, id: Uint32Array): void {
    if (this.get(tenant, id) !== undefined) this.#positions[this.#find(this.#tenants.get(tenant)!, id)] = Number.NaN
  }

  /** Where an id stands, or the free slot for it. */
  #find(number: number, id: Uint32Array): number {
    const words = this.#words
    const mask = this.#slots - 1
    let slot = hash(this.#seed ^ number, id, 0) & mask
    for (;;) {
      const at = WORDS * slot
      if (words[at] === FREE) return slot
      if (
        words[at] === number &&
        words[at + 1] === id[0] &&
        words[at + 2] === id[1] &&
        words[at + 3] === id[2] &&
        words[at + 4] === id[3]
      )
        return slot
      slot = (slot + 1) & mask
    }
  }

  #grow(): void {
    const [words, positions] = [this.#words, this.#positions]
    this.#slots *= 2
    this.#words = new Uint32Array(WORDS * this.#slots)
    this.#positions = new Float64Array(this.#slots)
    const mask = this.#slots - 1
    for (let old = 0; old < positions.length; old++) {
      const at = WORDS * old
      if (words[at] === FREE) continue
      let slot = hash(this.#seed ^ words[at]!, words, at + 1) & mask
      while (this.#words[WORDS * slot] !== FREE) slot = (slot + 1) & mask
      for (let i = 0; i < WORDS; i++) this.#words[WORDS * slot + i] = words[at + i]!
      this.#positions[slot] = positions[old]!
    }
  }
}

/** Of the four words of an id from `at` on. The seed is nobody's to know: who makes ids up must not choose where they meet. */
function hash(seed: number, id: Uint32Array, at: number): number {
  let mixed = seed
  for (let i = at; i < at + 4; i++) {
    mixed = Math.imul(mixed ^ id[i]!, 0x9e3779b1)
    mixed ^= mixed >>> 15
  }
  return mixed
}

/** The 128 bits of a UUID in lower case. */
function readWords(id: string, words: Uint32Array): void {
  let word = 0
  let digits = 0
  for (let i = 0; i < id.length; i++) {
    const code = id.charCodeAt(i)
    if (code === HYPHEN) continue
    word = (word << 4) | (code < LETTER_A ? code - DIGIT_0 : code - LETTER_A + 10)
    digits++
    if ((digits & 7) === 0) words[(digits >> 3) - 1] = word
  }
}

const HYPHEN = 0x2d
const DIGIT_0 = 0x30
const LETTER_A = 0x61
