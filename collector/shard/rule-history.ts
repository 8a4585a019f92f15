/**
 * Under which rules a shard's samples were taken, as far back as its journal reaches: a file beside the journal, one line a change.
 *
 *     rules = line*      line = { since, kept, rules } CRC32C-in-hex
 *
 *     ── line 1 ──────────────┬── line 2 ─────────────────────────────────┬── line 3, in force ──▶ arrivals
 *                           since: the last arrival under the rules before; kept: what those gave out up to then is journalled
 *
 * A sample that was dropped for a rule which is gone or has changed since is either told of by an output of that rule, or it has to
 * go elsewhere: into a window of the rules in force, or to storage. This says which.
 */

import { crc32c } from '../../proto/wire/crc32c.ts'
import type { Label } from '../../proto/wire/labels.ts'
import type { Files } from '../journal/files.ts'
import { AMEND_EVERY_MS } from '../rules/lane.ts'
import { readRules } from '../rules/read-rules.ts'
import type { Rule } from '../rules/rule.ts'
import { clash } from '../rules/rule-clash.ts'

interface Epoch {
  /** Later arrivals are under these rules, µs. */
  readonly since: number
  /** Of the rules before: what they gave out up to then is journalled, ms. */
  readonly kept: number
  /** As they stand in the configuration. */
  readonly rules: readonly unknown[]
}

/** Where a shard is at its start. */
export interface RuleMoment {
  /** The latest arrival that was given out, and up to when what rules gave out is journalled, ms. */
  readonly lastAt: number
  readonly kept: number
  /** Arrival of the journal's first record, ms; Infinity: it has none. */
  readonly first: number
}

const MICROS = 1000
const CRC_DIGITS = 8
/** Changes that are remembered. What was dropped before them, and is still not told of, is stored. */
const EPOCHS_MAX = 50
/** A longer file is written anew, beside it and then in its place, as soon as the journal has nothing from before the last change. */
const FILE_BYTES_USUAL = 256 * 1024

export class RuleHistory {
  /** Oldest first; the last one is in force. */
  readonly #epochs: readonly Epoch[]
  readonly #dropping = new Map<Epoch, readonly Rule[]>()
  /** By epoch and series. */
  readonly #matching = new Map<Epoch, Map<number, readonly Rule[]>>()

  private constructor(epochs: readonly Epoch[]) {
    this.#epochs = epochs
  }

  /** Of a shard whose rules were always these. */
  static unchanged(rules: readonly unknown[]): RuleHistory {
    return new RuleHistory([{ since: 0, kept: -1, rules }])
  }

  /**
   * Reads what was, and writes down that from now on these rules are in force, where they differ.
   * @param failed called when that cannot be written: a later start will not know of the change
   */
  static open(
    files: Files,
    path: string,
    rules: readonly unknown[],
    moment: RuleMoment,
    failed: (error: unknown) => void,
  ): RuleHistory {
    const content = files.readBytes(path) ?? new Uint8Array(0)
    const known = readEpochs(content)
    const last = known.at(-1)
    if (last !== undefined && JSON.stringify(last.rules) === JSON.stringify(rules)) return new RuleHistory(known)
    const epoch: Epoch =
      last === undefined
        ? { since: 0, kept: -1, rules } // the first start, or the first with this file
        : { since: moment.lastAt * MICROS + MICROS - 1, kept: moment.kept, rules }
    const whole = content.length > FILE_BYTES_USUAL && moment.first * MICROS > (last?.since ?? 0)
    try {
      if (whole) files.replace(path, linesOf([...known.slice(-1), epoch]))
      else append(files, path, linesOf([epoch]))
    } catch (error) {
      failed(error)
    }
    return new RuleHistory([...known, epoch].slice(-EPOCHS_MAX))
  }

  /** The last arrival under other rules than those in force, µs; 0: there was none. */
  get since(): number {
    return this.#epochs.at(-1)!.since
  }

  /** What was given out up to then was so by other rules, ms; -1: there were none. */
  get keptBefore(): number {
    return this.#epochs.at(-1)!.kept
  }

  /**
   * By rule in force, in the order of the configuration: what was given out up to then, ms, has series that it may write too, from
   * another rule. -∞: nothing that still matters has.
   * @param from what was given out up to then is not written again by anybody, ms
   */
  begins(from: number): number[] {
    const others = this.#rulesBefore(from)
    const { rules } = this.#epochs.at(-1)!
    const texts = rules.map((rule) => JSON.stringify(rule))
    return readRules(rules).rules.map((rule, i) => {
      let begin = Number.NEGATIVE_INFINITY
      for (const [text, other] of others)
        if (other.until > begin && text !== texts[i] && clash(other.rule, rule) !== undefined) begin = other.until
      return begin
    })
  }

  /** Rules of before, each with what it gave out at most up to, ms; by how they stand in the configuration. */
  #rulesBefore(from: number): Map<string, { readonly rule: Rule; readonly until: number }> {
    const found = new Map<string, { rule: Rule; until: number }>()
    for (const [i, { rules }] of this.#epochs.slice(0, -1).entries()) {
      const until = this.#epochs[i + 1]!.kept
      if (until <= from) continue
      for (const [r, rule] of readRules(rules).rules.entries()) found.set(JSON.stringify(rules[r]), { rule, until })
    }
    return found
  }

  /**
   * Whether outputs that are journalled tell of a sample that was dropped under rules of before.
   * @param at its arrival, not after {@link since}, µs. @param time of the sample, ms
   * @param series one number for it as long as this is used. @param define called once a series
   */
  told(at: number, time: number, series: number, define: () => { name: string; labels: readonly Label[] }): boolean {
    const next = this.#epochs.findIndex((epoch) => at <= epoch.since)
    const epoch = this.#epochs[next - 1]
    if (epoch === undefined) return false
    const rules = this.#rulesOf(epoch, series, define)
    if (rules.length === 0) return false
    const arrived = at / MICROS
    return rules.every(({ intervalMs, graceMs }) => {
      const due = Math.ceil(time / intervalMs) * intervalMs + graceMs
      return (arrived <= due ? due : arrived + AMEND_EVERY_MS) <= this.#epochs[next]!.kept
    })
  }

  #rulesOf(epoch: Epoch, series: number, define: () => { name: string; labels: readonly Label[] }): readonly Rule[] {
    const known = this.#matching.get(epoch) ?? new Map<number, readonly Rule[]>()
    this.#matching.set(epoch, known)
    let rules = known.get(series)
    if (rules === undefined) {
      const { name, labels } = define()
      rules = this.#droppingOf(epoch).filter(({ match }) => match.some((selector) => selector.matches(name, labels)))
      known.set(series, rules)
    }
    return rules
  }

  /** None where this version cannot read them: nobody then says that a sample was told of. */
  #droppingOf(epoch: Epoch): readonly Rule[] {
    let rules = this.#dropping.get(epoch)
    if (rules === undefined) {
      rules = readRules(epoch.rules).rules.filter(({ keepInput }) => !keepInput)
      this.#dropping.set(epoch, rules)
    }
    return rules
  }

  /** Numbers of series are about to mean others. */
  forgetSeries(): void {
    this.#matching.clear()
  }
}

/** Begins with a line feed: what an earlier write that was cut short left has a line of its own, and is passed over. */
function linesOf(epochs: readonly Epoch[]): Uint8Array {
  const lines = epochs.map((epoch) => {
    const text = JSON.stringify(epoch)
    return `\n${text} ${checksum(text)}\n`
  })
  return Buffer.from(lines.join(''))
}

function append(files: Files, path: string, bytes: Uint8Array): void {
  const fd = files.open(path)
  try {
    const size = files.size(path)
    if (files.append(fd, [bytes]) !== bytes.length) {
      files.truncate(fd, size)
      throw new Error('The disk took only a part of it')
    }
    files.sync(fd)
  } finally {
    files.close(fd)
  }
}

function readEpochs(content: Uint8Array): Epoch[] {
  return Buffer.from(content)
    .toString('utf8')
    .split('\n')
    .flatMap((line) => {
      const text = line.slice(0, -CRC_DIGITS - 1)
      if (text === '' || line.slice(-CRC_DIGITS) !== checksum(text)) return []
      return [JSON.parse(text) as Epoch]
    })
    .slice(-EPOCHS_MAX)
}

function checksum(text: string): string {
  return crc32c(Buffer.from(text)).toString(16).padStart(CRC_DIGITS, '0')
}
