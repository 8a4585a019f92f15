/**
 * How far long work is, on stderr:
 *
 *     on a terminal     a bar with percentage and estimate, drawn over itself, gone when the work is done
 *     elsewhere         a line now and then
 *
 * Work that ends within a second says nothing.
 */
export interface ProgressOutput {
  readonly write: (text: string) => void
  /** Characters in a line; undefined: not a terminal. */
  readonly columns: number | undefined
  /** Monotonic, ms. */
  readonly now: () => number
}

/** How far it is. */
export interface ProgressState {
  readonly done: number
  /** Not above zero: not known. */
  readonly of: number
  /** What `done` of `of` is, for a person: `segment 3 of 7`. */
  readonly detail?: string
}

const SILENT_MS = 1000
const DRAW_EVERY_MS = 100
const LINE_EVERY_MS = 5000
const BAR_MAX = 30
const BAR_MIN = 10
const CLEAR_LINE = '\r\u001b[2K'

export class Progress {
  readonly #title: string
  readonly #output: ProgressOutput
  readonly #since: number
  #saidAt: number | undefined
  #drawn = false

  constructor(title: string, output: ProgressOutput) {
    this.#title = title
    this.#output = output
    this.#since = output.now()
  }

  /** May be called as often as the work likes: it draws ten times a second at most. */
  update(state: ProgressState): void {
    const { now, columns, write } = this.#output
    const at = now()
    if (at - this.#since < SILENT_MS) return
    const every = columns === undefined ? LINE_EVERY_MS : DRAW_EVERY_MS
    if (this.#saidAt !== undefined && at - this.#saidAt < every) return
    this.#saidAt = at
    if (columns === undefined) write(`${this.#line(state, at)}\n`)
    else write(`${CLEAR_LINE}${this.#bar(state, at, columns)}`)
    this.#drawn = columns !== undefined
  }

  /** Leaves the line of the terminal empty, for whatever is written next. */
  clear(): void {
    if (!this.#drawn) return
    this.#output.write(CLEAR_LINE)
    this.#drawn = false
  }

  #line(state: ProgressState, at: number): string {
    return [`${this.#title}:`, ...this.#figures(state, at)].join(' ')
  }

  #bar(state: ProgressState, at: number, columns: number): string {
    const figures = this.#figures(state, at).join(' ')
    const room = columns - this.#title.length - figures.length - 5
    const width = Math.min(BAR_MAX, room)
    const full = Math.round(share(state) * width)
    const bar = state.of > 0 && width >= BAR_MIN ? `[${'#'.repeat(full)}${'.'.repeat(width - full)}] ` : ''
    return `${this.#title} ${bar}${figures}`.slice(0, columns - 1) // a full line would wrap
  }

  #figures(state: ProgressState, at: number): string[] {
    const done = share(state)
    const percent = state.of > 0 ? [`${Math.floor(done * 100)} %`] : []
    const left = ((at - this.#since) / done) * (1 - done)
    const estimate = state.of > 0 && done > 0 && done < 1 ? [`about ${duration(left)} left`] : []
    return [...percent, ...(state.detail === undefined ? [] : [`(${state.detail})`]), ...estimate]
  }
}

function share({ done, of }: ProgressState): number {
  return of > 0 ? Math.min(1, Math.max(0, done / of)) : 0
}

/** 94000 → 1 min 34 s. */
function duration(ms: number): string {
  const seconds = Math.ceil(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
