/** What is noted of a journal's records while they are read at the start. */
import type { JournalRecord } from '../journal/record.ts'

const MICROS = 1000
const NOTED_EVERY_MS = 1000

/** Where the records of each second begin. */
export class JournalPlaces {
  readonly #positions: number[] = []
  readonly #times: number[] = []

  /** Arrival of the first record, ms; Infinity when there is none. */
  get first(): number {
    return this.#times[0] ?? Number.POSITIVE_INFINITY
  }

  note({ position, at }: JournalRecord): void {
    const time = Math.floor(at / MICROS)
    if (time < (this.#times.at(-1) ?? Number.NEGATIVE_INFINITY) + NOTED_EVERY_MS) return
    this.#times.push(time)
    this.#positions.push(position)
  }

  /** Position of a record in front of all that arrived later than a time, ms; undefined when there are none. */
  firstAfter(time: number): number | undefined {
    const later = this.#times.findIndex((t) => t > time)
    return this.#positions[later < 0 ? this.#positions.length - 1 : Math.max(0, later - 1)]
  }
}

/** The last records, up to a number of bytes. */
export class RecentRecords {
  readonly records: JournalRecord[] = []
  readonly #bytesMax: number
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  push(record: JournalRecord): void {
    this.records.push(record)
    this.#bytes += record.body.length
    while (this.#bytes > this.#bytesMax) this.#bytes -= this.records.shift()!.body.length
  }
}
