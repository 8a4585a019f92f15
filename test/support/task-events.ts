/** Builders for the events that tasks are made of. */
import { createHash } from 'node:crypto'
import type { FleetEvent } from '../../proto/events/event.ts'

export const TENANT = '11111111-1111-4111-8111-111111111111'

/** An id that follows from a name. */
export function idOf(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/** @param time ms since the epoch; the id follows from everything that is given */
export function event(type: string, time: number, fields: Readonly<Record<string, unknown>> = {}): FleetEvent {
  return {
    event_id: idOf(JSON.stringify([type, time, fields])),
    event_type: type,
    timestamp: new Date(time).toISOString(),
    tenant_id: TENANT,
    source: 'test',
    version: '1.0',
    ...fields,
  }
}
