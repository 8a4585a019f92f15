/** An aggregator as far as a collector's events lane knows one: takes batches, keeps their items by identity, and may be away. */
import type { Server } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import type { ReceivedItem } from '../../proto/events/event.ts'
import { decodeEventBatch, EVENT_BATCH_CONTENT_TYPE } from '../../proto/wire/event-batch.ts'

export interface EventSink {
  readonly url: string
  /** All that came, repeats too. */
  readonly items: ReceivedItem[]
  /** While it is away: 503. */
  away: boolean
}

/** Ends with the test. */
export async function startEventSink(t: TestContext): Promise<EventSink> {
  const items: ReceivedItem[] = []
  const sink = { url: '', items, away: false }
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      if (sink.away) response.writeHead(503, { 'Retry-After': '0.1' }).end('away')
      else if (request.url !== '/intake/v1/events') response.writeHead(200).end('{"stored":true,"expired":0}')
      else if (request.headers['content-type'] !== EVENT_BATCH_CONTENT_TYPE) response.writeHead(415).end()
      else {
        items.push(...decodeEventBatch(Buffer.concat(chunks)).items)
        response.writeHead(200).end('{"stored":true,"expired":0}')
      }
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  sink.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return sink
}

/** By tenant and id: what is there once in effect. */
export function byIdentity(items: readonly ReceivedItem[]): Map<string, ReceivedItem> {
  return new Map(items.map((item) => [`${item.tenant} ${'event' in item ? item.event.event_id : item.dead.id}`, item]))
}
