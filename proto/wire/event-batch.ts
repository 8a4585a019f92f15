/**
 * A batch of events: what a collector's events lane sends to an aggregator (`POST /intake/v1/events`), and what a topic of batches holds.
 *
 *     batch = "FME1 " crc32c of all behind the first line, 8 hex digits "\n"
 *             header, one line of JSON: EventBatchHeader
 *             one line of JSON for each item: ReceivedItem
 *
 * Lines, so that a person can read it with `tail` and `jq`. A batch may be sent again in any cut: identity is in the events.
 */
import type { ReceivedItem } from '../events/event.ts'
import { crc32c } from './crc32c.ts'
import { WireError } from './wire-error.ts'

/** Where the items of a batch come from. Positions count a journal's items. */
export interface EventBatchHeader {
  readonly collector: string
  readonly session: string
  /** Name of the journal. */
  readonly lane: string
  /** The batch holds the items (from, to] of the journal. */
  readonly from: number
  readonly to: number
  /** The collector is stopping and waits: store at once. */
  readonly urgent: boolean
}

export interface EventBatch {
  readonly header: EventBatchHeader
  readonly items: readonly ReceivedItem[]
}

/** Content type of a batch over HTTP. */
export const EVENT_BATCH_CONTENT_TYPE = 'application/vnd.fleetmeter.events'

const MAGIC = 'FME'
const VERSION = '1'
const HEAD_BYTES = 'FME1 01234567\n'.length
const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true })

export function encodeEventBatch(header: EventBatchHeader, items: readonly ReceivedItem[]): Uint8Array<ArrayBuffer> {
  return encodeEventLines(header, [encoder.encode(items.map(eventLine).join(''))])
}

/** One item as it stands in a batch. */
export function eventLine(item: ReceivedItem): string {
  return `${JSON.stringify(item)}\n`
}

/** The same of items that are lines already. */
export function encodeEventLines(header: EventBatchHeader, lines: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const parts = [encoder.encode(`${JSON.stringify(header)}\n`), ...lines]
  const out = new Uint8Array(parts.reduce((bytes, { length }) => bytes + length, HEAD_BYTES))
  let at = HEAD_BYTES
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  const checksum = crc32c(out, HEAD_BYTES).toString(16).padStart(8, '0')
  out.set(encoder.encode(`${MAGIC}${VERSION} ${checksum}\n`))
  return out
}

/** @throws WireError when the bytes are not a sound batch of a known version */
export function decodeEventBatch(bytes: Uint8Array): EventBatch {
  const head = String.fromCharCode(...bytes.subarray(0, HEAD_BYTES))
  if (!head.startsWith(MAGIC)) throw new WireError('malformed', 'the batch does not begin with "FME"')
  if (head[MAGIC.length] !== VERSION)
    throw new WireError(
      'unsupported',
      `version ${JSON.stringify(head[MAGIC.length] ?? '')} is not known, ${VERSION} is`,
    )
  if (!/ [0-9a-f]{8}\n$/.test(head))
    throw new WireError('malformed', 'the first line is not "FME1", a checksum and no more')
  if (crc32c(bytes, HEAD_BYTES) !== Number.parseInt(head.slice(5, 13), 16))
    throw new WireError('checksum', 'the batch does not match its checksum')
  const lines: unknown[] = []
  try {
    for (const line of decoder.decode(bytes.subarray(HEAD_BYTES)).split('\n'))
      if (line !== '') lines.push(JSON.parse(line))
  } catch (error) {
    throw new WireError('malformed', `line ${lines.length + 2} is not JSON: ${String(error)}`)
  }
  const [header, ...items] = lines as [EventBatchHeader | undefined, ...ReceivedItem[]]
  if (header === undefined) throw new WireError('truncated', 'the batch has no header')
  return { header, items }
}
