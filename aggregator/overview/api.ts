/**
 * The JSON of our own questions, as it goes over the wire: snake_case, units in names, RFC 3339 times in UTC, null for what is not
 * known. No code and no imports: the page in the browser reads the same file.
 */

export interface HostAnswer {
  readonly host: string
  readonly last_seen: string
  /** 0 to 1, over all processors, of the newest step. */
  readonly cpu_used_ratio: number | null
  readonly processors: number | null
  readonly load1: number | null
  readonly memory_used_bytes: number | null
  readonly memory_total_bytes: number | null
  readonly gpus: readonly GpuAnswer[]
}

export interface GpuAnswer {
  readonly gpu: string
  readonly uuid: string
  readonly model: string
  readonly last_seen: string
  readonly utilization_ratio: number | null
  readonly memory_used_bytes: number | null
  readonly memory_total_bytes: number | null
  readonly power_watts: number | null
  readonly temperature_celsius: number | null
}

export interface SenderAnswer {
  readonly tenant: string
  readonly sender: string
  readonly credential: string
  readonly door: string
  readonly collector: string
  readonly instance: string
  /** Over the last minute; null where the collector says nothing any more. */
  readonly samples_per_second: number | null
  /** Since the collector was started. */
  readonly samples_received: number
  /** Within the minutes that memory holds. */
  readonly samples_refused: readonly RefusedAnswer[]
  readonly requests_refused: readonly RefusedAnswer[]
  readonly last_seen: string | null
  readonly reported_at: string
}

export interface OverviewAnswer {
  readonly as_of: string
  readonly tenant: string
  /** Whether senders are those of every tenant. */
  readonly all_tenants: boolean
  /** For the admin: tenants with series in memory, the first thousand. */
  readonly tenants?: readonly string[]
  readonly totals: {
    readonly samples_per_second: number | null
    /** Within the minutes of the charts. */
    readonly samples_refused: number
    readonly requests_refused: number
    readonly senders: number
    readonly hosts: number
    readonly gpus: number
    readonly series: number
  }
  /** Those that send most; `totals.senders` is how many there are. */
  readonly senders: readonly SenderAnswer[]
  readonly hosts: readonly HostAnswer[]
  readonly charts: {
    readonly start: string
    readonly step_seconds: number
    readonly samples_per_second: ChartAnswer
    readonly cpu_used_ratio: ChartAnswer
    readonly memory_used_ratio: ChartAnswer
    readonly gpu_utilization_ratio: ChartAnswer
    readonly gpu_power_watts: ChartAnswer
  }
}

export interface ChartAnswer {
  /** What there is a line of; more than can be told apart are summed up as their highest, median and lowest. */
  readonly of: number
  readonly summary: boolean
  readonly lines: readonly LineAnswer[]
}

export interface MetricNameAnswer {
  readonly name: string
  /** In memory; 0: only older ones. */
  readonly series: number
}

export interface MetricLabelsAnswer {
  readonly name: string
  readonly series: number
  readonly metadata: { readonly type: string; readonly help: string; readonly unit: string } | null
  /** By key; of each the values that most series have. */
  readonly labels: readonly {
    readonly key: string
    readonly values: readonly { readonly value: string; readonly series: number }[]
    /** How many there are, listed or not, as far as they were counted: 10,000. */
    readonly values_total: number
  }[]
  readonly warnings: readonly string[]
}

/** What was not taken, and how much of it. */
export interface RefusedAnswer {
  readonly reason: string
  readonly count: number
}

/** A line of a chart: a value for each step, null where there is none. */
export interface LineAnswer {
  readonly name: string
  readonly values: readonly (number | null)[]
}

/** A page of names; `total` is how many there are on all of them. */
export interface MetricNamesAnswer {
  readonly data: readonly MetricNameAnswer[]
  readonly next_cursor: string | null
  readonly total: number
  readonly warnings: readonly string[]
}
