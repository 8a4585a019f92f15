/** A message that cannot be taken, for the dead-letter topic: key, value and headers as received, and what was wrong with it. */
import type { DeadLetter } from '../../proto/events/event.ts'
import type { OutgoingMessage, ReceivedMessage } from '../../proto/kafka/port.ts'
import { bytesOf, REQUEST_BYTES_MAX } from '../../proto/kafka/requests.ts'

/** Longer explanations are cut: headers count to a request's size. */
const REASON_MAX = 1000
/** Of a message that was as large as its broker takes, there is room for no more beside the explanation. */
const VALUE_CUT = 500_000

export function deadLetterMessage(
  topic: string,
  { key, value, headers, offset, timestamp }: ReceivedMessage,
  { id, code, reason }: DeadLetter,
  from: { readonly topic: string; readonly partition: number; readonly group: string; readonly now: number },
): OutgoingMessage {
  const why = {
    'fm.dlq.id': id, // the same however often it is put there
    'fm.dlq.topic': from.topic,
    'fm.dlq.partition': String(from.partition),
    'fm.dlq.offset': String(offset),
    'fm.dlq.timestamp': String(timestamp),
    'fm.dlq.group': from.group,
    'fm.dlq.stage': 'check',
    'fm.dlq.error.class': code,
    'fm.dlq.error.message': reason.slice(0, REASON_MAX),
    'fm.dlq.first.seen': new Date(from.now).toISOString(),
  }
  const letter = { topic, key, value, headers: { ...headers, ...why } }
  if (bytesOf(letter) <= REQUEST_BYTES_MAX) return letter
  // Its partition would stand still for ever. All of it is where it was, and in the letter that is delivered.
  return {
    topic,
    key: null,
    value: value?.subarray(0, VALUE_CUT) ?? null,
    headers: { ...why, 'fm.dlq.cut.from': String(value?.length ?? 0) },
  }
}
