/** What is due first, first: a heap. What is over before is found out when its turn comes. */

export interface Expiring {
  readonly expires: number
}

interface Due<T> {
  readonly expires: number
  readonly of: T
}

const CLEAN_AT_MIN = 1024

export class ExpiryQueue<T extends Expiring> {
  #heap: Due<T>[] = []
  /** What is over is thrown out when there are so many. */
  #cleanAt = CLEAN_AT_MIN
  readonly #isOpen: (item: T) => boolean

  constructor(isOpen: (item: T) => boolean) {
    this.#isOpen = isOpen
  }

  /** @param item as it expires now; extended it is to be added again */
  add(item: T): void {
    if (this.#heap.length >= this.#cleanAt) this.#throwOut()
    this.#push({ expires: item.expires, of: item })
  }

  /** What is over and was not thrown out yet is among them. */
  get size(): number {
    return this.#heap.length
  }

  /** When the next one expires. */
  get next(): number | undefined {
    this.#clean()
    return this.#heap[0]?.expires
  }

  /** Those that expire at or before a time, the first ones first; they stay. */
  due(now: number, max: number): T[] {
    // One that was extended and then set back is there twice.
    const due = new Set<T>()
    for (;;) {
      this.#clean()
      if (due.size >= max || this.#heap.length === 0 || this.#heap[0]!.expires > now) break
      due.add(this.#pop().of)
    }
    for (const of of due) this.#push({ expires: of.expires, of })
    return [...due]
  }

  #clean(): void {
    for (let first = this.#heap[0]; first !== undefined && !this.#isDue(first); first = this.#heap[0]) this.#pop()
  }

  #throwOut(): void {
    // Sorted is a heap.
    this.#heap = this.#heap.filter((due) => this.#isDue(due)).sort((a, b) => a.expires - b.expires)
    this.#cleanAt = Math.max(CLEAN_AT_MIN, 2 * this.#heap.length)
  }

  #isDue({ expires, of }: Due<T>): boolean {
    return of.expires === expires && this.#isOpen(of)
  }

  #push(due: Due<T>): void {
    const heap = this.#heap
    let i = heap.push(due) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (heap[parent]!.expires <= due.expires) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = due
  }

  #pop(): Due<T> {
    const heap = this.#heap
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let i = 0
    for (;;) {
      let child = 2 * i + 1
      if (child + 1 < heap.length && heap[child + 1]!.expires < heap[child]!.expires) child++
      if (child >= heap.length || heap[child]!.expires >= last.expires) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}
