/** One remote write request as a Prometheus sends it. */
import type { Agent } from 'node:http'
import { request } from 'node:http'

/** Of remote write. */
export type WriteVersion = 1 | 2

const HEADERS: Readonly<Record<WriteVersion, Readonly<Record<string, string>>>> = {
  1: { 'Content-Type': 'application/x-protobuf', 'X-Prometheus-Remote-Write-Version': '0.1.0' },
  2: {
    'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v2.Request',
    'X-Prometheus-Remote-Write-Version': '2.0.0',
  },
}

/** @param url of the endpoint. @returns the status; 0 for a lost connection */
export function post(url: string, body: Uint8Array, agent: Agent, version: WriteVersion = 1): Promise<number> {
  return new Promise((resolve) => {
    const outgoing = request(url, {
      method: 'POST',
      agent,
      headers: {
        ...HEADERS[version],
        'Content-Encoding': 'snappy',
        'Content-Length': body.length,
      },
    })
    outgoing.on('response', (response) => {
      response.resume()
      response.on('end', () => resolve(response.statusCode ?? 0))
      response.on('error', () => resolve(0))
    })
    outgoing.on('error', () => resolve(0))
    outgoing.end(body)
  })
}
