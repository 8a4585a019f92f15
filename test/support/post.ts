/** A sender of remote write 1.0 with an address of its own: a collector tells senders apart by theirs. */
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:http'

export interface Answer {
  /** 0 when the connection was lost. */
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
}

const LOST: Answer = { status: 0, headers: {}, text: '' }

/** @param from an address of this machine, such as 127.0.0.2 */
export function post(url: string, from: string, body: Uint8Array): Promise<Answer> {
  return new Promise((resolve) => {
    const headers = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' }
    const outgoing = request(`${url}/api/v1/write`, { method: 'POST', localAddress: from, headers, timeout: 10_000 })
    outgoing.on('response', (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString()
      })
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }))
      answer.on('error', () => resolve(LOST))
    })
    outgoing.on('timeout', () => outgoing.destroy())
    outgoing.on('error', () => resolve(LOST))
    outgoing.end(body)
  })
}
