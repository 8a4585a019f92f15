/** Bodies of requests: bounded, and JSON where JSON is meant. */
import type { Context } from 'hono'
import { messageOf } from '../../proto/runtime/errors.ts'
import { mediaType } from '../../proto/runtime/http-answers.ts'
import { Refusal } from './refusal.ts'

/** @throws Refusal 413 before it is all here */
export async function readBody(c: Context, bytesMax: number): Promise<Uint8Array> {
  const length = c.req.header('content-length')
  if (Number(length ?? 0) > bytesMax) throw tooLarge(bytesMax)
  // node:http reads no more of a body than it says, and a stream of the web costs several times what such a body does.
  if (length !== undefined && c.req.header('transfer-encoding') === undefined)
    return new Uint8Array(await c.req.raw.arrayBuffer())
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (c.req.raw.body ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.length
    if (size > bytesMax) throw tooLarge(bytesMax)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

export function tooLarge(bytesMax: number): Refusal {
  return new Refusal(413, 'BAD_REQUEST', `The body is over the limit of ${bytesMax} bytes: send it in parts`)
}

/** @param expected what the path takes, in words @throws Refusal 415, 400 */
export function jsonOf(c: Context, bytes: Uint8Array, expected = 'application/json'): unknown {
  return parseJson(c.req.header('content-type'), bytes, expected)
}

const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** @param contentType of the header @param expected what the path takes, in words @throws Refusal 415, 400 */
export function parseJson(contentType: string | undefined, bytes: Uint8Array, expected = 'application/json'): unknown {
  if (mediaType(contentType).type !== 'application/json')
    throw new Refusal(415, 'BAD_REQUEST', `Content-Type: expected ${expected}`)
  try {
    return JSON.parse(UTF8.decode(bytes))
  } catch (error) {
    throw new Refusal(400, 'BAD_REQUEST', `The body is not JSON: ${messageOf(error)}`)
  }
}
