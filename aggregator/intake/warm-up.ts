/**
 * After a restart collectors still hold batches that this aggregator had made visible before. Until they have sent them again
 * a newest sample would look older than it was: nobody is answered before that, or before a few seconds have passed.
 */
import { readFile, writeFile } from 'node:fs/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Watermarks } from './watermarks.ts'

const WAIT_MAX_MS = 5000
const LOOK_EVERY_MS = 50
const NOTE_EVERY_MS = 5000
/** Collectors that had been silent for this long when the note was written are not waited for. */
const RECENT_MS = 60_000

export class WarmUp {
  readonly #file: string
  readonly #watermarks: Watermarks
  readonly #clock: Clock
  #missing: Set<string> | undefined
  #startedAt = 0
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
    this.#startedAt = this.#clock.now()
    this.#missing = new Set(await this.#expected())
    const look = setInterval(() => this.#look(), LOOK_EVERY_MS)
    const giveUp = setTimeout(() => this.#missing?.clear(), WAIT_MAX_MS)
    const note = setInterval(() => void this.#note(), NOTE_EVERY_MS)
    this.#timers = [look, giveUp, note]
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer)
    await this.#note()
  }

  #look(): void {
    if (this.#missing === undefined || this.#missing.size === 0) return
    for (const { collector, mark } of this.#watermarks.all) if (mark >= this.#startedAt) this.#missing.delete(collector)
  }

  async #expected(): Promise<string[]> {
    try {
      const seen = Object.entries(JSON.parse(await readFile(this.#file, 'utf8')) as Record<string, number>)
      const newest = Math.max(...seen.map(([, at]) => at))
      return seen.filter(([, at]) => at > newest - RECENT_MS).map(([collector]) => collector)
    } catch {
      return [] // the first start, or a note that is damaged: it is only a hint
    }
  }

  async #note(): Promise<void> {
    const seen = Object.fromEntries(this.#watermarks.all.map(({ collector, seenAt }) => [collector, seenAt]))
    if (Object.keys(seen).length > 0) await writeFile(this.#file, JSON.stringify(seen)).catch(() => {})
  }
}
