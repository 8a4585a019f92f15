/** Builders for the events lane without its thread. */
import type { EventsOptions } from '../../collector/events/events-core.ts'
import type { IncomingEvents } from '../../collector/events/incoming.ts'

export const NOW: number = Date.parse('2026-02-01T00:00:00Z')
const LARGE = 1_000_000
export const OPTIONS: EventsOptions = {
  directory: '/events',
  writer: 'c/events',
  writerDigits: 7,
  origin: { collector: 'c', session: 's', lane: 'events' },
  segmentBytes: 4000,
  journalBytesMax: LARGE,
  batchBytes: 2000,
  batchItems: 10,
  itemsMax: 100,
  itemBytesMax: 10_000,
  decodedBytesMax: LARGE,
  futureMaxMs: 60_000,
  personal: ['*:prompt=digest'],
  recentMax: 20,
  seed: 5,
  node: { node_id: '', vm_type: '', host_name: 'h', storage_size: '', storage_type: '' },
}

export function incoming(body: unknown, more: Partial<IncomingEvents> = {}): IncomingEvents {
  return {
    door: 'events',
    format: 'json',
    tenant: 'a',
    grant: { who: 'a key', tenant: 'a', tenants: [], allowedBy: 'nobody' },
    tenantsMax: 1000,
    sender: 's',
    topic: '',
    local: false,
    gzip: false,
    body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
    ...more,
  }
}

export const uuid = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, '0')}`
export const event = (n: number, more: object = {}): object => ({
  event_id: uuid(n),
  event_type: 'new.thing.done',
  timestamp: '2026-01-31T12:00:00Z',
  n,
  ...more,
})
