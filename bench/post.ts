/** One remote write request as a Prometheus sends it. */
import type { Agent } from 'node:http'
import { request } from 'node:http'

/** @param url of the endpoint. @returns the status; 0 for a lost connection */
export function post(url: string, body: Uint8Array, agent: Agent): Promise<number> {
  return new Promise((resolve) => {
    const outgoing = request(url, {
      method: 'POST',
      agent,
      headers: {
        'Content-Type': 'application/x-protobuf',
        'Content-Encoding': 'snappy',
        'X-Prometheus-Remote-Write-Version': '0.1.0',
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
