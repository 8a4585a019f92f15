/** Events for tests, of every road, and the batches that they travel in. */
import { randomUUID } from 'node:crypto'
import type { FleetEvent, ReceivedEvent, ReceivedItem, ReceivedLetter } from '../../proto/events/event.ts'
import { EVENT_BATCH_CONTENT_TYPE, encodeEventBatch } from '../../proto/wire/event-batch.ts'
import { authorized } from './programs.ts'

let arrivals = 0

/** An event that the owner log decides about, unless `fields` make it another one. */
export function receivedEvent(fields: Partial<FleetEvent> = {}, way: Partial<ReceivedEvent> = {}): ReceivedEvent {
  const event: FleetEvent = {
    event_id: randomUUID(),
    event_type: 'xumi.generation.complete',
    timestamp: new Date().toISOString(),
    tenant_id: '11111111-1111-4111-8111-111111111111',
    source: 'xumi',
    version: '1.0',
    ...fields,
  }
  return {
    tenant: 'default',
    at: Date.now() * 1000 + (arrivals++ % 1000),
    road: 'http',
    topic: 'xumi_task',
    ...way,
    event,
  }
}

/** One that is stored as evidence and decides nothing. */
export function auditEvent(fields: Partial<FleetEvent> = {}, way: Partial<ReceivedEvent> = {}): ReceivedEvent {
  return receivedEvent({ event_type: 'pbac.agent.politics.check', ...fields }, { topic: 'pbac_access', ...way })
}

export function letter(dead: Partial<ReceivedLetter['dead']> = {}): ReceivedLetter {
  const { tenant, at, topic } = receivedEvent()
  return {
    tenant,
    at,
    topic,
    road: 'kafka',
    dead: { id: randomUUID(), code: 'malformed', reason: 'no JSON', raw: 'eHg=', ...dead },
  }
}

let batches = 0

/** A batch of a range of its own. */
export function eventBatch(items: readonly ReceivedItem[], urgent = false): Uint8Array<ArrayBuffer> {
  const from = batches++ * 1000
  return encodeEventBatch(
    { collector: 'c1', session: 's1', lane: 'events', from, to: from + items.length, urgent },
    items,
  )
}

/** Sends it to an aggregator. @returns its status; 0 when the connection was lost */
export async function sendEvents(url: string, batch: Uint8Array<ArrayBuffer>, timeoutMs = 20_000): Promise<number> {
  try {
    const response = await fetch(`${url}/intake/v1/events`, {
      method: 'POST',
      headers: { ...authorized, 'Content-Type': EVENT_BATCH_CONTENT_TYPE },
      body: batch,
      signal: AbortSignal.timeout(timeoutMs),
    })
    await response.arrayBuffer()
    return response.status
  } catch {
    return 0
  }
}
