/**
 * In the order of their last use, exactly. Each has its neighbours in itself: a decision uses four subjects, and finding one in a map and
 * moving it here costs half of what an entry of lru-cache does (`npm run bench -- quota-decision`).
 */

export interface Linked<T> {
  /** Undefined: it was used last, or is in no list. */
  newer: T | undefined
  older: T | undefined
}

export class RecentList<T extends Linked<T>> {
  #newest: T | undefined
  #oldest: T | undefined

  get oldest(): T | undefined {
    return this.#oldest
  }

  /** It is the newest from now on, whether it was in the list or not. */
  use(item: T): void {
    const newest = this.#newest
    if (item === newest) return
    this.remove(item)
    item.older = newest
    if (newest === undefined) this.#oldest = item
    else newest.newer = item
    this.#newest = item
  }

  /** One that is in no list stays as it is. */
  remove(item: T): void {
    const { newer, older } = item
    if (newer !== undefined) newer.older = older
    else if (item === this.#newest) this.#newest = older
    if (older !== undefined) older.newer = newer
    else if (item === this.#oldest) this.#oldest = newer
    item.newer = undefined
    item.older = undefined
  }

  /** The newest first. */
  *[Symbol.iterator](): Generator<T> {
    for (let item = this.#newest; item !== undefined; item = item.older) yield item
  }
}
