/**
 * An event as every part of the program has it: checked, its envelope filled in, spelling and types as the catalogue says, all
 * fields flat beside each other, as producers send them and as it is stored. What nobody knows is kept as it came.
 */

/** Identity: (tenant, event_id), whichever road an event came by, and however often. */
export interface FleetEvent {
  /** UUID, lower case. */
  readonly event_id: string
  /** `system.component.action`, lower case. */
  readonly event_type: string
  /** RFC 3339 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`. */
  readonly timestamp: string
  readonly tenant_id: string
  /** The service that emitted it; '' where it did not say. */
  readonly source: string
  readonly version: string
  readonly user_id?: string
  readonly session_id?: string
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly tags?: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}

/** By which road something came in. */
export type Road = 'http' | 'cloudevents' | 'kafka_rest' | 'kafka'

/** Something that is not an event of its topic, kept for a person, with the reason. */
export interface DeadLetter {
  /** UUID, derived from where it came from and its bytes: the same letter is kept once. */
  readonly id: string
  /** Snake case, for metrics: `malformed`, `missing_field`, `wrong_type`, `unknown_tenant`, … */
  readonly code: string
  /** For a person: which field, what was wrong, what to do. */
  readonly reason: string
  /** As received, base64. */
  readonly raw: string
}

/** One thing that came in, with what is known of its way. */
interface Received {
  readonly tenant: string
  /** Arrival, µs since the epoch, with the writer in the last three digits. */
  readonly at: number
  readonly road: Road
  /** Kafka topic, asked for or implied by the event's type; '' where there is none. */
  readonly topic: string
  /** Key of the record that it came in, base64; absent: it had none. */
  readonly key?: string
  /** Partition that the sender asked for; absent: it named none. */
  readonly partition?: number
}

export type ReceivedEvent = Received & { readonly event: FleetEvent }
export type ReceivedLetter = Received & { readonly dead: DeadLetter }
export type ReceivedItem = ReceivedEvent | ReceivedLetter
