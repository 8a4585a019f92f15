/**
 * After a restart collectors still hold batches that this aggregator had made visible before. Until they have sent them again
 * a newest sample would look older than it was: nobody is answered before that, or before a few seconds have passed.
 *
 * Who they are is noted in a file: a collector before its first batch is visible, all of them every few seconds.
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Watermarks } from './watermarks.ts'

/** What the note says of a collector: when it was last heard, ms, and how far its clock was ahead of ours, ms. */
interface Noted {
  readonly seenAt: number
  readonly lead: number
}

const WAIT_MAX_MS = 5000
const LOOK_EVERY_MS = 50
const NOTE_EVERY_MS = 5000
/** Collectors that had been silent for this long when the note was written are not waited for. */
const RECENT_MS = 60_000

export class WarmUp {
  readonly #file: string
  readonly #watermarks: Watermarks
  readonly #clock: Clock
  /** Collectors that are waited for, with the mark that they have to reach. Undefined before the start. */
  #missing: Map<string, number> | undefined
  readonly #noted = new Map<string, Noted>()
  #writing: Promise<void> = Promise.resolve()
  #timers: NodeJS.Timeout[] = []

  /** @param file where the collectors that send are noted for the next start */
  constructor(file: string, watermarks: Watermarks, clock: Clock) {
    this.#file = file
    this.#watermarks = watermarks
    this.#clock = clock
  }

  /** Why nobody should be told how fresh a series is; undefined when everything is there. */
  get reason(): string | undefined {
    if (this.#missing === undefined) return 'Starting'
    return this.#missing.size === 0
      ? undefined
      : `Starting: waiting for what ${this.#missing.size} collectors had under way`
  }

  async start(): Promise<void> {
    const startedAt = this.#clock.now()
    const expected = await this.#expected()
    this.#missing = new Map(expected.map(([collector, { lead }]) => [collector, startedAt + lead]))
    const look = setInterval(() => this.#look(), LOOK_EVERY_MS)
    const giveUp = setTimeout(() => this.#missing?.clear(), WAIT_MAX_MS)
    const note = setInterval(() => void this.#note(), NOTE_EVERY_MS)
    this.#timers = [look, giveUp, note]
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    await this.#note()
  }

  /** Before the first batch of a collector is visible: resolves when the next start would know of it. */
  known(collector: string): Promise<void> | undefined {
    if (this.#noted.has(collector)) return undefined
    return this.#note({ collector, seenAt: this.#clock.now(), lead: 0 })
  }

  #look(): void {
    if (this.#missing === undefined || this.#missing.size === 0) return
    for (const { collector, mark } of this.#watermarks.all) {
      const wanted = this.#missing.get(collector)
      if (wanted !== undefined && mark >= wanted) this.#missing.delete(collector)
    }
  }

  async #expected(): Promise<[string, Noted][]> {
    try {
      const seen = Object.entries(JSON.parse(await readFile(this.#file, 'utf8')) as Record<string, Noted>)
      const newest = Math.max(...seen.map(([, { seenAt }]) => seenAt))
      return seen.filter(([, { seenAt }]) => seenAt > newest - RECENT_MS)
    } catch {
      return [] // the first start, or a note that is damaged: it is only a hint
    }
  }

  /** One write after the other; each holds everything that was known when its turn came. */
  #note(newcomer?: Noted & { readonly collector: string }): Promise<void> {
    if (newcomer !== undefined) this.#noted.set(newcomer.collector, newcomer)
    this.#writing = this.#writing.then(async () => {
      for (const { collector, seenAt, lead } of this.#watermarks.all) {
        if (seenAt >= (this.#noted.get(collector)?.seenAt ?? 0)) this.#noted.set(collector, { seenAt, lead })
      }
      const newest = Math.max(...[...this.#noted.values()].map(({ seenAt }) => seenAt))
      for (const [collector, { seenAt }] of this.#noted) if (seenAt < newest - RECENT_MS) this.#noted.delete(collector)
      if (this.#noted.size === 0) return
      const content = JSON.stringify(
        Object.fromEntries([...this.#noted].map(([collector, { seenAt, lead }]) => [collector, { seenAt, lead }])),
      )
      // A full disk must not stop the intake: without a note the next start only waits less.
      await writeFile(`${this.#file}.new`, content)
        .then(() => rename(`${this.#file}.new`, this.#file))
        .catch(() => {})
    })
    return this.#writing
  }
}
