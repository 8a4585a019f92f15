/**
 * A record's accepted items as lines of JSON, read back by the shard's own decoders and by the record's verdict.
 *
 * Written by hand where it counts: labels in their order and whatever they are called, numbers to the last bit.
 */
import type { ExtraKind } from '../../proto/wire/batch-extras.ts'
import { readExemplar } from '../../proto/wire/exemplar.ts'
import type { Label } from '../../proto/wire/labels.ts'
import { readMetadata } from '../../proto/wire/metadata.ts'
import { readHistogram } from '../../proto/wire/native-histogram.ts'
import { STALE_HIGH, STALE_LOW } from '../../proto/wire/remote-write.ts'
import type { JournalRecord } from '../journal/record.ts'
import { isEventDoor } from '../journal/record.ts'
import { decodeVerdict } from '../journal/verdict.ts'
import { NO_LIMITS } from '../shard/body-decoder.ts'
import { Reception } from '../shard/reception.ts'
import { arrivalTime } from './wording.ts'

const NOTHING = new Uint8Array(0)
/** The table of series begins anew behind so many series or tenants. */
const SERIES_MAX = 200_000
const TENANTS_MAX = 1000

export class ItemReader {
  #reception = newReception()
  #series: string[] = []
  readonly #tenants = new Set<string>()

  /**
   * @param from first position that is wanted; `to`: the last one
   * @param emit gets each line, without its end, in the order of positions
   * @returns false when this version cannot read the record; nothing was emitted then
   */
  read(record: JournalRecord, from: number, to: number, emit: (position: number, fields: string) => void): boolean {
    if (isEventDoor(record.door)) return readEvents(record, from, to, emit)
    this.#makeRoom(record.tenant)
    const { scratch, extras } = this.#reception
    let overflow: Uint8Array | undefined
    const found: { position: number; fields: string }[] = []
    let position = record.position
    const wanted = (): boolean => {
      position++
      return position >= from && position <= to
    }
    // Series beyond the cardinality bounds are learnt like all others here: so they have their labels.
    const read = this.#reception.replay(
      { ...record, overflow: NOTHING },
      {
        sample: (i, dropped) => {
          overflow ??= marked(record.overflow, scratch.count)
          if (wanted()) found.push({ position, fields: this.#sample(i, dropped, overflow[i] === 1) })
        },
        extra: (i) => {
          if (wanted()) found.push({ position, fields: this.#extra(extras.kind(i), i) })
        },
      },
    )
    if (!read) return false
    const { at, door, tenant } = record
    const common = `"arrival":"${arrivalTime(at)}","door":"${door}","tenant":${JSON.stringify(tenant)}`
    for (const item of found) emit(item.position, `${common},${item.fields}`)
    return true
  }

  #sample(i: number, dropped: boolean, overflow: boolean): string {
    const { scratch } = this.#reception
    const { words, values, times, starts, hasStarts } = scratch
    const stale = words[2 * i + 1] === STALE_HIGH && words[2 * i] === STALE_LOW
    const start = hasStarts ? starts[i]! : 0
    return [
      `"kind":"sample",${this.#seriesOf(scratch.series[i]!)},"time":${times[i]}`,
      `"value":${stale ? '"stale"' : number(values[i]!)}`,
      ...(start > 0 ? [`"start":${start}`] : []),
      ...(dropped && !overflow ? ['"dropped":true'] : []),
      ...(overflow ? ['"overflow":true'] : []),
    ].join(',')
  }

  #extra(kind: ExtraKind, i: number): string {
    const { extras } = this.#reception
    const message = extras.message(i)
    if (kind === 'metadata') {
      const { family, ...value } = readMetadata(message)
      return `"kind":"metadata","name":${JSON.stringify(family)},"value":${json(value)}`
    }
    const value = kind === 'histogram' ? json(readHistogram(message)) : exemplarJson(message)
    return `"kind":"${kind}",${this.#seriesOf(extras.series[i]!)},"time":${extras.times[i]},"value":${value}`
  }

  #seriesOf(series: number): string {
    const known = this.#series[series]
    if (known !== undefined) return known
    const { name, labels } = this.#reception.define(series)
    const text = `"name":${JSON.stringify(name)},"labels":${labelsJson(labels)}`
    this.#series[series] = text
    return text
  }

  #makeRoom(tenant: string): void {
    this.#tenants.add(tenant)
    if (this.#reception.table.count < SERIES_MAX && this.#tenants.size <= TENANTS_MAX) return
    this.#reception = newReception()
    this.#series = []
    this.#tenants.clear()
    this.#tenants.add(tenant)
  }
}

/** Items of the events lane are lines of JSON already. */
function readEvents(
  { position, count, at, door, body }: JournalRecord,
  from: number,
  to: number,
  emit: (position: number, fields: string) => void,
): boolean {
  const lines = new TextDecoder().decode(body).split('\n').slice(0, -1)
  if (lines.length !== count) return false
  const common = `"arrival":"${arrivalTime(at)}","door":"${door}"`
  for (const [i, line] of lines.entries()) {
    const at = position + i + 1
    if (at >= from && at <= to) emit(at, `${common},"kind":"event","item":${line}`)
  }
  return true
}

function newReception(): Reception {
  return new Reception(NO_LIMITS, 0)
}

/** 1 for each sample that marks are about. */
function marked(marks: Uint8Array, samples: number): Uint8Array {
  const taken = new Uint8Array(samples)
  if (marks.length > 0) decodeVerdict(marks, taken)
  return taken
}

/** As a JSON number that reads back to the same bits, or the name of what no such number is. */
function number(value: number): string {
  if (Number.isFinite(value)) return Object.is(value, -0) ? '-0' : String(value)
  if (Number.isNaN(value)) return '"NaN"'
  return value > 0 ? '"+Inf"' : '"-Inf"'
}

/** Whatever a label is called, `__proto__` too. */
function labelsJson(labels: readonly Label[]): string {
  return `{${labels.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`
}

function exemplarJson(message: Uint8Array): string {
  const { labels, value } = readExemplar(message)
  return `{"labels":${labelsJson(labels)},"value":${number(value)}}`
}

/** Plain values; whole numbers beyond 2^53 as text. */
function json(value: unknown): string {
  if (typeof value === 'number') return number(value)
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? String(value) : `"${value}"`
  if (Array.isArray(value)) return `[${value.map(json).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  return `{${Object.entries(value)
    .map(([key, part]) => `${JSON.stringify(key)}:${json(part)}`)
    .join(',')}}`
}
