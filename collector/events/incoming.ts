/** What goes into the events lane, and what comes out: a request's body with what its head says, and the answer to it. */
import type { FaultCode } from '../../proto/events/check.ts'
import type { TenantGrant } from '../../proto/runtime/tenants.ts'
import type { EventDoor } from '../journal/record.ts'

/** How a body is to be read, and its answer written. */
export const FORMATS = [
  'json', // one event, or a list of them
  'lines', // an event on each line
  'cloud_event',
  'cloud_events', // a list of them
  'cloud_event_binary', // the data alone; the attributes stood in the head
  'kafka_json',
  'kafka_binary',
  'kafka_text',
  'kafka_v3', // one record after the other
  'kafka_v3_batch',
] as const
export type Format = (typeof FORMATS)[number]

export interface IncomingEvents {
  readonly door: EventDoor
  readonly format: Format
  /** Of events that name none. */
  readonly tenant: string
  /** Which tenants events may name. */
  readonly grant: Pick<TenantGrant, 'who' | 'tenant' | 'tenants' | 'allowedBy'>
  /** Tenants at most that events name and the configuration does not. */
  readonly tenantsMax: number
  /** Credential and address without port, as a short hash. */
  readonly sender: string
  /** Kafka topic that was asked for; ''. */
  readonly topic: string
  /** Partition in the path; undefined: it names none. */
  readonly partition?: number | undefined
  /** It comes from this machine. */
  readonly local: boolean
  readonly gzip: boolean
  /** Attributes of a CloudEvent that stood in the head, by name without `ce-`. */
  readonly attributes?: Readonly<Record<string, string>> | undefined
  readonly body: Uint8Array
}

/** The answer, ready to be sent. */
export interface Answered {
  readonly status: number
  readonly type: string
  readonly text: string
  /** Items that the body held; 0 where it could not be read. */
  readonly received: number
  /** Those that are not kept, by reason. */
  readonly refused: readonly (readonly [reason: FaultCode, count: number])[]
}
