/** `dump`: the accepted items of journals, one JSON object a line. */
import type { JournalRecord } from '../journal/record.ts'
import type { Asked } from './arguments.ts'
import type { Console } from './console.ts'
import { ItemReader } from './items.ts'
import type { JournalPlace } from './places.ts'
import { progressOn } from './progress.ts'
import { Enough, isUnreadable, surveyJournal } from './survey.ts'
import { arrivalTime, counted, named } from './wording.ts'

/** So much is written at once. */
const CHUNK_CHARS = 1 << 16

type Range = Pick<Asked, 'from' | 'to' | 'limit'>

/** @returns whether all journals could be read */
export function dumpJournals(journals: readonly JournalPlace[], range: Range, console: Console): boolean {
  const dump = new Dump(range, console)
  let readable = true
  try {
    for (const journal of journals) readable = dump.journal(journal) && readable
  } catch (error) {
    if (!(error instanceof Enough)) throw error
  } finally {
    dump.flush()
  }
  return readable
}

class Dump {
  readonly #range: Range
  readonly #console: Console
  #left: number
  #buffer = ''

  constructor(range: Range, console: Console) {
    this.#range = range
    this.#console = console
    this.#left = range.limit
  }

  /** @throws Enough at the limit */
  journal(journal: JournalPlace): boolean {
    const reader = new ItemReader()
    const shard = JSON.stringify(journal.name)
    const { from, to } = this.#range
    if (this.#left <= 0) throw new Enough()
    const survey = surveyJournal(journal, {
      visit: (record) => {
        if (record.position + record.count < from || record.position >= to) return
        const read = reader.read(record, from, to, (position, fields) =>
          this.#line(`{"shard":${shard},"position":${position},${fields}}\n`),
        )
        if (!read) this.#line(`{"shard":${shard},${unreadable(record)}}\n`)
      },
      // Where the items go to a terminal, they are what is seen.
      ...(this.#console.outIsTerminal ? {} : { progress: (...of) => progressOn(this.#console, 'reading', ...of) }),
    })
    this.flush()
    if (isUnreadable(survey)) {
      this.#console.err(`spool: ${named(journal.name)} cannot be read: ${survey.problem}\n`)
      return false
    }
    const missing = survey.findings.gaps.reduce((sum, gap) => sum + gap.items, 0)
    if (!survey.findings.sound || missing > 0)
      this.#console.err(
        `spool: ${named(journal.name)} is damaged, ${counted(missing, 'item')} are not in it: verify says where\n`,
      )
    if (survey.growing)
      this.#console.err(`spool: ${named(journal.name)} is being written: what came meanwhile is left out\n`)
    return true
  }

  flush(): void {
    const text = this.#buffer
    this.#buffer = ''
    if (text !== '') this.#console.out(text)
  }

  #line(line: string): void {
    if (this.#left-- <= 0) throw new Enough()
    this.#buffer += line
    if (this.#buffer.length >= CHUNK_CHARS) this.flush()
  }
}

/** A record that is sound, and that this version cannot decode. */
function unreadable({ position, count, at, door, tenant }: JournalRecord): string {
  const where = `"position":${position + 1},"to":${position + count},"arrival":"${arrivalTime(at)}"`
  return `${where},"door":"${door}","tenant":${JSON.stringify(tenant)},"kind":"unreadable","items":${count}`
}
