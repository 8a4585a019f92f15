/**
 * Cuts messages into requests. A broker closes the connection on one that is too large (Azure Event Hubs at 1,046,528 bytes, whatever the
 * topics allow), and kafkajs puts everything for one broker into one request: so all of a request is counted, before compression.
 */
import type { OutgoingMessage } from './port.ts'

/** Most of a request, bytes. */
export const REQUEST_BYTES_MAX = 1_000_000
/** A loop of JavaScript makes a request of so many messages in some ms; more would hold up everybody else. */
const REQUEST_MESSAGES_MAX = 500
/** Lengths, offsets and times of a record, and what names its partition where it is the first of that. */
const MESSAGE_OVERHEAD = 100

export function* requestsOf(messages: readonly OutgoingMessage[], maxBytes: number): Generator<OutgoingMessage[]> {
  let request: OutgoingMessage[] = []
  let bytes = 0
  for (const message of messages) {
    const size = bytesOf(message)
    if (request.length > 0 && (bytes + size > maxBytes || request.length >= REQUEST_MESSAGES_MAX)) {
      yield request
      request = []
      bytes = 0
    }
    request.push(message)
    bytes += size
  }
  if (request.length > 0) yield request
}

/** What a message takes of a request, at most. */
export function bytesOf({ topic, key, value, headers = {} }: OutgoingMessage): number {
  let bytes = MESSAGE_OVERHEAD + topic.length + lengthOf(key) + lengthOf(value)
  for (const [name, content] of Object.entries(headers)) bytes += 8 + lengthOf(name) + lengthOf(content)
  return bytes
}

function lengthOf(content: string | Uint8Array | null): number {
  return content === null ? 0 : typeof content === 'string' ? Buffer.byteLength(content) : content.length
}
