/** One item of a request, and what bodies are made of: text, JSON. */
import { isUtf8 } from 'node:buffer'
import type { Fault } from '../../proto/events/check.ts'
import { messageOf } from '../../proto/runtime/errors.ts'

/** One item of a request. */
export interface Entry {
  /** Parsed; undefined where it cannot be. */
  readonly raw: unknown
  /** As it came, where `raw` does not tell. */
  readonly text?: string | Uint8Array
  /** Why it is no event, without being looked at further. */
  readonly fault?: Fault
  /** Time of the record that it came in, ms. */
  readonly time?: number | undefined
  /** Key of that record, base64. */
  readonly key?: string | undefined
  readonly partition?: number | undefined
  /** Of an entry of a batch of records. */
  readonly id?: string
  /** The record itself is not taken, so that there is nothing to keep; a code of Kafka REST. */
  readonly error?: { readonly code: number; readonly message: string }
}

/** Nothing of the body can be used. */
export class BadBody extends Error {
  readonly status: number
  /** Of Kafka REST. */
  readonly code: number

  constructor(status: number, message: string, code: number = status) {
    super(message)
    this.status = status
    this.code = code
  }
}

/** @throws BadBody when it is no text */
export function textOf(body: Uint8Array): string {
  if (!isUtf8(body)) throw new BadBody(400, 'The body is not UTF-8')
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8')
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
}

/** @throws BadBody when it is not JSON */
export function parsedBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(textOf(body))
  } catch (error) {
    if (error instanceof BadBody) throw error
    throw new BadBody(400, `The body is not JSON: ${reasonOf(error)}`)
  }
}

/** What JSON.parse says, without the words of the body that it quotes: they may be personal. */
function reasonOf(error: unknown): string {
  const at = / at position \d+/.exec(messageOf(error))?.[0]
  return at === undefined ? 'it is cut off or empty' : `unexpected character${at}`
}

/** An item that is a JSON text. */
export function textEntry(text: string): Entry {
  try {
    return { raw: JSON.parse(text) }
  } catch (error) {
    return { raw: undefined, text, fault: malformed(`it is not JSON: ${reasonOf(error)}`) }
  }
}

export function malformed(message: string, field = ''): Fault {
  return { field, code: 'malformed', message }
}
