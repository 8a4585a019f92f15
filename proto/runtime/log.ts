/**
 * Log lines are events for an operator: a fixed lower-case message, the rest as fields, JSON on stderr.
 * error = someone must act, warn = we coped, info = start, stop and changes of state, debug = per batch, never per sample.
 */
import { pino } from 'pino'

export type Logger = pino.Logger
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent'

/** @param name program, the field `program` of every line */
export function createLogger(name: string, level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { program: name, pid: process.pid },
      messageKey: 'message',
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  )
}

/** A logger that says nothing. */
export const silentLogger: Logger = pino({ level: 'silent' })

/**
 * Lets one line of a kind through per `everyMs`; the next one says how many were held back.
 * For conditions that last: a peer that is away would otherwise fill the log.
 */
export class RateLimitedLog {
  readonly #everyMs: number
  readonly #monotonic: () => number
  readonly #seen = new Map<string, { at: number; held: number }>()

  constructor(everyMs: number, monotonic: () => number) {
    this.#everyMs = everyMs
    this.#monotonic = monotonic
  }

  /** Calls `write` with the number of lines held back since the last one, or not at all. */
  once(kind: string, write: (held: number) => void): void {
    const now = this.#monotonic()
    const seen = this.#seen.get(kind)
    if (seen !== undefined && now - seen.at < this.#everyMs) {
      seen.held++
      return
    }
    this.#seen.set(kind, { at: now, held: 0 })
    write(seen?.held ?? 0)
  }
}
