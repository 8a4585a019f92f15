/** What quotas are answered with, as JSON. Types only: the page reads them too. */

/** Amounts are decimal numbers in the unit of the resource's name. */
export interface FigureAnswer {
  readonly quota: string
  readonly level: string
  readonly subject: string
  readonly resource: string
  readonly window: 'day' | 'week' | 'month' | 'rolling' | 'lifetime'
  readonly limit: string
  /** Null: it could not be counted. */
  readonly used: string | null
  /** Reserved and not settled. */
  readonly held: string
  /** Lent to collectors, which decide by it … */
  readonly leased: string
  /** … and of that what is held by those that nobody hears of. */
  readonly in_doubt: string
  readonly left: string | null
  readonly period_from: string | null
  readonly resets_at: string | null
  readonly enforcement: 'hard' | 'soft'
  readonly shadow: boolean
  readonly state: 'ok' | 'near' | 'over' | 'unknown'
}

export interface SubjectAnswer {
  readonly level: string
  readonly subject: string
  readonly data: readonly FigureAnswer[]
  readonly degraded: boolean
  readonly as_of: string
}

/** Ids of quotas. */
export interface GrantedAnswer {
  readonly granted: true
  readonly over: readonly string[]
  readonly shadow: readonly string[]
  readonly unknown: readonly string[]
  readonly degraded: boolean
  /** Of a collector's decision none. */
  readonly quotas: readonly FigureAnswer[]
  readonly decided_by: string
  readonly as_of: string
}

export interface ReservationAnswer {
  readonly id: string
  readonly state: 'open' | 'committed' | 'released' | 'expired'
  readonly user_id: string | null
  readonly project: string | null
  readonly department: string | null
  readonly task_id: string | null
  readonly attempt: number | null
  readonly amounts: Readonly<Record<string, string>>
  readonly committed: Readonly<Record<string, string>> | null
  readonly reserved_at: string
  readonly expires_at: string
  readonly closed_at: string | null
  readonly late: boolean
  readonly overrun: boolean
}

/** `GET /v1/subjects/{level}/{id}/reservations`. */
export interface SubjectReservationsAnswer {
  readonly level: string
  readonly subject: string
  /** The oldest first. */
  readonly data: readonly OpenReservationAnswer[]
  readonly next_cursor: string | null
  readonly as_of: string
}

export interface OpenReservationAnswer extends ReservationAnswer {
  /** What of it is held still: what was counted for its task already is not. */
  readonly held: Readonly<Record<string, string>>
}

export interface AdjustmentAnswer {
  readonly id: string
  readonly user_id: string | null
  readonly project: string | null
  readonly department: string | null
  readonly resource: string
  readonly amount: string
  /** The quarter of an hour that it is counted in. */
  readonly slot: string
  readonly reason: string
}

/** Members of a problem, besides those that every problem has. */
export interface RefusalAnswer {
  readonly refused_by: FigureAnswer
  /** All that it does not fit, narrowest first. */
  readonly all_refused_by: readonly FigureAnswer[]
  readonly what_to_do: string
  readonly degraded: boolean
  readonly decided_by: string
}

/** A slice that a collector holds. */
export interface LeaseAnswer {
  readonly lease: number
  readonly collector: string
  readonly state: 'lent' | 'in_doubt'
  readonly user_id: string | null
  readonly project: string | null
  readonly department: string | null
  readonly granted: Readonly<Record<string, string>>
  /** What of it is no reservation. */
  readonly left: Readonly<Record<string, string>>
  readonly lent_at: string
  /** Null: not since the aggregator started. */
  readonly heard_of_seconds_ago: number | null
}

/** `GET /v1/quota/leases`. */
export interface LeasesAnswer {
  /** The oldest first. */
  readonly data: readonly LeaseAnswer[]
  readonly next_cursor: string | null
  readonly as_of: string
}
