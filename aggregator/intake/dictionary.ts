/**
 * What a collector's session means by its series references. Pages, since references only grow and old ones are forgotten
 * with their series: a page that nobody used for a while goes, and a collector that still needs it is asked to describe.
 */
const PAGE = 1024
const UNKNOWN = -1

interface Page {
  readonly slots: Int32Array
  usedAt: number
}

export class Dictionary {
  readonly #pages = new Map<number, Page>()
  /** When the session sent last, ms. */
  usedAt = 0

  set(ref: number, slot: number, now: number): void {
    const number = Math.floor(ref / PAGE)
    let page = this.#pages.get(number)
    if (page === undefined) {
      page = { slots: new Int32Array(PAGE).fill(UNKNOWN), usedAt: now }
      this.#pages.set(number, page)
    }
    page.slots[ref % PAGE] = slot
  }

  /**
   * Translates references. @param slots gets the slot of each, -1 where unknown
   * @returns the references that are unknown, each once
   */
  translate(refs: Uint32Array, slots: Int32Array, now: number): number[] {
    this.usedAt = now
    const unknown = new Set<number>()
    let number = Number.NaN
    let page: Page | undefined
    for (let i = 0; i < refs.length; i++) {
      const ref = refs[i]!
      const wanted = Math.floor(ref / PAGE)
      if (wanted !== number) {
        number = wanted
        page = this.#pages.get(wanted)
        if (page !== undefined) page.usedAt = now
      }
      const slot = page === undefined ? UNKNOWN : page.slots[ref % PAGE]!
      slots[i] = slot
      if (slot === UNKNOWN) unknown.add(ref)
    }
    return [...unknown]
  }

  /** Forgets pages not used since a time, and marks the slots that the others refer to. */
  sweep(since: number, used: Uint8Array): void {
    for (const [number, page] of this.#pages) {
      if (page.usedAt < since) this.#pages.delete(number)
      else for (const slot of page.slots) if (slot !== UNKNOWN) used[slot] = 1
    }
  }
}
