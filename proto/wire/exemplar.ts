/**
 * Exemplars: single observations of a series with labels of their own, mostly the id of a trace.
 *
 *     Exemplar  labels = 1 (Label; in 2.0 references to symbols), value = 2 (double), timestamp = 3 (int64, ms)
 */
import type { Label } from './labels.ts'
import { sortLabels } from './labels.ts'
import { Reader, Writer } from './protobuf.ts'
import { asWireError, enter, readLabels, skipUnknown, tag } from './remote-write.ts'
import { readInt64 } from './varint64.ts'

export interface Exemplar {
  /** In canonical order; may be empty. */
  readonly labels: readonly Label[]
  readonly value: number
  /** ms since the epoch */
  readonly timestamp: number
}

const LABELS = tag(1, 2)
const VALUE = tag(2, 1)
const TIMESTAMP = tag(3, 0)
/** OpenMetrics allows 128 characters in all; this is against hostile bodies. */
const LABELS_MAX = 64

/**
 * Reads the message of 1.0 at body[start..end).
 * @throws WireError when the bytes are no such message, or a label is not UTF-8
 */
export function readExemplar(body: Uint8Array, start = 0, end: number = body.length): Exemplar {
  const reader = new Reader(body)
  reader.pos = start
  reader.len = end
  const labels: Label[] = []
  let value = 0
  let timestamp = 0
  try {
    while (reader.pos < end) {
      const at = reader.pos
      const field = reader.tag()
      if (field === LABELS) {
        reader.pos = enter(reader, end)
        labels.push(...readLabels(body, at, reader.pos, LABELS_MAX - labels.length))
        reader.len = end
      } else if (field === VALUE) value = reader.double()
      else if (field === TIMESTAMP) timestamp = readInt64(reader)
      else skipUnknown(reader, field, LABELS, VALUE, TIMESTAMP)
    }
  } catch (error) {
    throw asWireError(error, reader)
  }
  return { labels: sortLabels(labels), value, timestamp }
}

/** The message of 1.0: equal exemplars give equal bytes. */
export function encodeExemplar({ labels, value, timestamp }: Exemplar): Uint8Array {
  const writer = new Writer()
  for (const [name, text] of labels) {
    writer.uint32(LABELS).fork()
    if (name !== '') writer.uint32(tag(1, 2)).string(name)
    if (text !== '') writer.uint32(tag(2, 2)).string(text)
    writer.ldelim()
  }
  if (!Object.is(value, 0)) writer.uint32(VALUE).double(value)
  if (timestamp !== 0) writer.uint32(TIMESTAMP).int64(timestamp)
  return writer.finish()
}
