/** A long piece of work on the main thread, in turns of a few milliseconds with others. */
import { setImmediate as nextTurn } from 'node:timers/promises'

const TURN_MS = 8

export class Turns {
  #since = performance.now()

  /** It is time to let others do something. */
  get over(): boolean {
    return performance.now() - this.#since >= TURN_MS
  }

  /** Resolves when others had theirs. */
  async next(): Promise<void> {
    await nextTurn()
    this.#since = performance.now()
  }
}
