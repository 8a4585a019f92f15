/**
 * What a collector's session means by its series references. Pages, since references only grow and old ones are forgotten
 * with their series: a page that nobody used for a while goes, and a collector that still needs it is asked to describe.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { SeriesDefinition } from '../../proto/wire/batch.ts'

const PAGE = 1024
/** Definitions that are learnt in one turn of the event loop: some ms, and three times that in a process that has just started. */
const SLICE = 250
const UNKNOWN = -1

interface Page {
  readonly slots: Int32Array
  usedAt: number
}

export class Dictionary {
  readonly #pages = new Map<number, Page>()
  /** When the session sent last, ms. */
  usedAt = 0
  #learnt: Promise<unknown> = Promise.resolve()

  /**
   * Learns what references mean, in turns: what it is given first, first, since what comes behind may refer to it.
   * @param slotOf the slot of a series
   * @returns a promise that rejects with what reading them throws
   */
  learn(
    definitions: Iterable<SeriesDefinition>,
    slotOf: (definition: SeriesDefinition) => number,
    now: number,
  ): Promise<void> {
    this.usedAt = now // a sweep between two turns must not take it for idle
    const own = this.#learnt.then(async () => {
      let count = 0
      for (const definition of definitions) {
        if (++count % SLICE === 0) await nextTurn()
        this.set(definition.ref, slotOf(definition), now)
      }
    })
    this.#learnt = own.catch(() => undefined) // whoever sent them is told; the next ones are others
    return own
  }

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
