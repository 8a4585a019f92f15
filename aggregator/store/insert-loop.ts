import { orAborted } from '../../proto/runtime/or-aborted.ts'

/** Calls for an insert whenever one is due, one after the other, until it is stopped and nothing is left. */
export class InsertLoop {
  readonly #pause: () => number
  readonly #insert: () => Promise<boolean>
  #urgent = false
  #stopped = false
  #wake: (() => void) | undefined
  #running: Promise<void> | undefined

  /**
   * @param pause ms until an insert is due, at 0 or below it is; asked again when they have passed, and by {@link look}
   * @param insert inserts what is there as it is called; false: nothing is
   */
  constructor(pause: () => number, insert: () => Promise<boolean>) {
    this.#pause = pause
    this.#insert = insert
  }

  get stopped(): boolean {
    return this.#stopped
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Resolves when everything is inserted, or there is no time left for it. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopped = true
    this.flush()
    await orAborted(this.#running ?? Promise.resolve(), deadline)
  }

  /** Somebody waits: it is due now. */
  flush(): void {
    this.#urgent = true
    this.look()
  }

  /** There is more than before: it may be due. */
  look(): void {
    this.#wake?.()
  }

  async #run(): Promise<void> {
    for (;;) {
      await this.#due()
      this.#urgent = false
      if (!(await this.#insert()) && this.#stopped) return
    }
  }

  async #due(): Promise<void> {
    while (!this.#urgent && !this.#stopped) {
      const pause = this.#pause()
      if (pause <= 0) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, pause)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
  }
}
