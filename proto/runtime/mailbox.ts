/**
 * The only way into a service: a queue with two bounds, the number of messages and their weight in bytes.
 *
 *     offer() ──▶ [ message | message | … ] ──▶ take()
 *       false when full                          up to n messages and w bytes at once; waits while empty
 *
 * Closed: nothing more comes in, what is inside still goes out, then take() answers an empty list.
 */
export class Mailbox<M> {
  readonly capacity: number
  readonly weightMax: number
  #items: { message: M; weight: number }[] = []
  #head = 0
  #weight = 0
  #closed = false
  #wake: (() => void) | undefined
  #pushed = 0
  #refused = 0

  /**
   * @param capacity most messages
   * @param weightMax most bytes, by the weights that offer() is given; one message is always taken into an empty mailbox
   */
  constructor(capacity: number, weightMax: number = Number.POSITIVE_INFINITY) {
    this.capacity = capacity
    this.weightMax = weightMax
  }

  get size(): number {
    return this.#items.length - this.#head
  }

  get weight(): number {
    return this.#weight
  }

  /** The message that is taken next. */
  get oldest(): M | undefined {
    return this.#items[this.#head]?.message
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Messages taken in since the start, and refused since it was full or closed. */
  get counts(): { readonly pushed: number; readonly popped: number; readonly refused: number } {
    return { pushed: this.#pushed, popped: this.#pushed - this.size, refused: this.#refused }
  }

  /** @returns false when the mailbox is full or closed; the message was then not taken */
  offer(message: M, weight = 0): boolean {
    const full = this.size >= this.capacity || (this.size > 0 && this.#weight + weight > this.weightMax)
    if (this.#closed || full) {
      this.#refused++
      return false
    }
    this.#items.push({ message, weight })
    this.#weight += weight
    this.#pushed++
    this.#awake()
    return true
  }

  /** Waits until there is something, or the mailbox is closed. For whoever takes: one at a time. */
  async filled(): Promise<void> {
    while (this.size === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /**
   * Waits until there is something, then takes as much as the bounds allow, at least one message.
   * @returns an empty list once the mailbox is closed and empty
   */
  async take(maxMessages = 1, maxWeight: number = Number.POSITIVE_INFINITY): Promise<M[]> {
    await this.filled()
    const taken: M[] = []
    let weight = 0
    while (this.size > 0 && taken.length < maxMessages) {
      const item = this.#items[this.#head]!
      if (taken.length > 0 && weight + item.weight > maxWeight) break
      this.#head++
      weight += item.weight
      taken.push(item.message)
    }
    this.#weight -= weight
    // The front of the list is given back in one piece, so that a message costs O(1).
    if (this.#head === this.#items.length) {
      this.#items = []
      this.#head = 0
    } else if (this.#head > 1024) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return taken
  }

  close(): void {
    this.#closed = true
    this.#awake()
  }

  #awake(): void {
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}
