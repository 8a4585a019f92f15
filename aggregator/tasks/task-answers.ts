/**
 * The JSON of questions about tasks and usage, as it goes over the wire: snake_case, units in names, RFC 3339 times in UTC, null for
 * what is not known. No code and no imports: the page in the browser reads the same file.
 */

export type TaskStateAnswer = 'queued' | 'loading' | 'running' | 'completed' | 'failed' | 'cancelled' | 'lost'

/** A page of `GET /v1/tasks`: an entry for each attempt, the one that began last first. */
export interface TasksAnswer {
  readonly data: readonly TaskAnswer[]
  /** null: this was the last page. */
  readonly next_cursor: string | null
}

/** One attempt of a task, as its newest calculation has it. */
export interface TaskAnswer {
  readonly task_id: string
  /** From 1; retries share the task's id. */
  readonly attempt: number
  readonly state: TaskStateAnswer
  /** Figures may still change: it has not ended, or samples of its window are under way. */
  readonly provisional: boolean
  readonly user_id: string | null
  readonly project: string | null
  readonly department: string | null
  readonly node_id: string | null
  readonly model: string | null
  readonly queued_at: string | null
  readonly started_at: string | null
  /** null: it has not ended. */
  readonly ended_at: string | null
  /** From its start to its end, or to the newest calculation. */
  readonly duration_seconds: number | null
  /** What its end said; null: nothing. */
  readonly result: boolean | null
  /** Such as `resource.oom_gpu`; null: no error. */
  readonly error_category: string | null
  /** GPUs that it held, times the time. */
  readonly gpu_held_seconds: number | null
  readonly gpu_busy_seconds: number | null
  readonly cpu_core_seconds: number | null
  readonly energy_wh: number | null
  /** Millionths of `currency`; null: no price fits. */
  readonly cost_micros: number | null
  readonly currency: string | null
  readonly updated_at: string
}

/** `GET /v1/tasks/{task_id}`. */
export interface TaskDetailAnswer {
  readonly task_id: string
  /** The first first; the last one says how the task is. */
  readonly attempts: readonly TaskAttemptAnswer[]
  readonly as_of: string
}

export interface TaskAttemptAnswer extends TaskAnswer {
  /** Which calculation of it this is, from 1. */
  readonly version: number
  readonly vm_type: string | null
  readonly gpu_model: string | null
  readonly url: string | null
  readonly namespace: string | null
  readonly pod: string | null
  readonly resource_id: string | null
  readonly tags: Readonly<Record<string, string>>
  /** Where project and department come from. */
  readonly attribution: AttributionAnswer
  /** Whose samples the figures are made of: the task's tenant's, those that the operator's tenant has of the machine, or none. */
  readonly samples_of: 'tenant' | 'operator' | 'none'
  /** What it went through, in the order of time; stages may overlap and be missing. */
  readonly stages: readonly StageAnswer[]
  /** What its figures are of; null: it has not begun. */
  readonly window: WindowAnswer | null
  readonly quantities: QuantitiesAnswer
  readonly gpus: readonly GpuFiguresAnswer[]
  /** CPU, memory, disk and network: of its pod, or of the node where its own are not known. */
  readonly node_figures: readonly FigureAnswer[]
  readonly usage: readonly UsageLineAnswer[]
  readonly cost: CostAnswer
  /** null: none. */
  readonly error: TaskErrorAnswer | null
  /** What was assumed, and what a person should know before believing the figures. */
  readonly assumptions: readonly AssumptionAnswer[]
  /** Of `GET /v1/events/{event_id}`; in the order of their times. */
  readonly event_ids: readonly string[]
  /** What to ask for to see its window. */
  readonly charts: readonly TaskChartAnswer[]
}

export interface AttributionAnswer {
  readonly project_from: OriginAnswer
  readonly department_from: OriginAnswer
  /** Of `GET /v1/memberships/{id}`: the one that was used. */
  readonly membership_id: string | null
  /** Why that one, of several. */
  readonly chosen: 'tag' | 'default' | 'only' | 'latest' | null
  readonly environment: string | null
  readonly cost_center: string | null
}

/** A tag of its events, a membership of its user, or nothing. */
export type OriginAnswer = 'tag' | 'membership' | 'none'

export interface StageAnswer {
  readonly stage: 'queued' | 'pod' | 'loading' | 'running'
  /** null: nobody told. */
  readonly from: string | null
  /** null: it has not ended, or nobody told. */
  readonly to: string | null
  readonly seconds: number | null
  /** false: it failed, as weights that were not loaded. */
  readonly ok: boolean | null
}

export interface WindowAnswer {
  readonly from: string
  readonly to: string
  readonly seconds: number
  /** It goes on: `to` is when it was calculated. */
  readonly open: boolean
}

export type ConfidenceAnswer = 'full' | 'low'

/** A quantity of the whole window, in the unit of its name. */
export interface QuantityAnswer {
  /** null where less than half of the window has data; never zero for want of data. */
  readonly value: number | null
  /** Share of the window that has data, 0 to 1. */
  readonly coverage: number
  /** What was measured, and how it was divided where others were there too. */
  readonly method: string
  /** Samples that stand behind it; null where none are needed, or it is not known. */
  readonly samples: number | null
  readonly confidence: ConfidenceAnswer
}

export interface QuantitiesAnswer {
  readonly gpu_held_seconds: QuantityAnswer
  readonly gpu_busy_seconds: QuantityAnswer
  /** 0 to 1. */
  readonly gpu_idle_ratio: QuantityAnswer
  readonly gpu_memory_peak_bytes: QuantityAnswer
  readonly energy_wh: QuantityAnswer
  readonly cpu_core_seconds: QuantityAnswer
  readonly memory_peak_bytes: QuantityAnswer
  readonly disk_bytes: QuantityAnswer
  readonly network_bytes: QuantityAnswer
  readonly tokens_in: QuantityAnswer
  readonly tokens_out: QuantityAnswer
  readonly load_seconds: QuantityAnswer
  readonly queue_seconds: QuantityAnswer
}

export interface GpuFiguresAnswer {
  /** Its UUID, or its index where nobody says the UUID. */
  readonly gpu: string
  readonly figures: readonly FigureAnswer[]
}

/** What samples of one metric say within the window. */
export interface FigureAnswer {
  /** Such as `gpu_utilization_ratio`, `gpu_memory_used_bytes`, `gpu_power_watts`, `cpu_cores`. */
  readonly name: string
  /** `ratio`, `bytes`, `watts`, `cores`, `bytes_per_second`: of all but `integral`. */
  readonly unit: string
  /** By time. */
  readonly mean: number | null
  readonly min: number | null
  readonly max: number | null
  readonly p95: number | null
  readonly last: number | null
  /** In `integral_unit`, such as `watt_seconds`. */
  readonly integral: number | null
  readonly integral_unit: string
  readonly coverage: number
  /** `gauge`: each sample holds until the next; `counter`: it rises between two. */
  readonly method: 'gauge' | 'counter'
  readonly samples: number
  readonly confidence: ConfidenceAnswer
}

/** What was counted in a quarter of an hour: the sum of all that was added and taken back. */
export interface UsageLineAnswer {
  readonly resource: string
  /** `s`, `Wh`, `B`, `1`. */
  readonly unit: string
  readonly from: string
  readonly to: string
  /** A decimal number, exact to a millionth of the unit. */
  readonly amount: string
  readonly cost_micros: number | null
  readonly currency: string | null
}

export interface CostAnswer {
  /** Millionths of `currency`: the sum of the lines. null: not known, see `reason`. */
  readonly micros: number | null
  readonly currency: string | null
  /** Such as `no_price`, `no_price_then`, `currency_changes`, `quantity_unknown`, `not_begun`; null: it has a cost. */
  readonly reason: string | null
  /** The reason, or how the cost was found, as a sentence. */
  readonly why: string
  readonly lines: readonly CostLineAnswer[]
}

/** What a resource cost in one phase and one quarter of an hour. */
export interface CostLineAnswer {
  readonly phase: 'queue' | 'load' | 'run'
  readonly resource: string
  readonly unit: string
  readonly from: string
  readonly to: string
  /** A decimal number, exact to a millionth of the unit. */
  readonly amount: string
  readonly cost_micros: number
  /** Of `GET /v1/prices/{id}`: those that held. */
  readonly price_ids: readonly string[]
}

export interface TaskErrorAnswer {
  /** Such as `resource.oom_gpu`, `gpu.hardware`, `unknown`. */
  readonly category: string
  /** Of a few hundred words; `unknown` where nothing matched. */
  readonly type: string
  /** As it was told, up to 8,192 characters. */
  readonly text: string
  /** Where in the text the deciding words are, UTF-16 units; null where evidence decided, or nothing. */
  readonly matched: { readonly from: number; readonly to: number; readonly words: string } | null
  /** Of the rule that decided, and of the tables that it is from. */
  readonly rule: string
  readonly version: string
  /** Whether trying again may help: `yes`, `no`, … as proto/errors has them. */
  readonly retry: string
  readonly chargeable_to: string
  /** What hardware said within the window. */
  readonly evidence: readonly ErrorEvidenceAnswer[]
}

export interface ErrorEvidenceAnswer {
  readonly kind: string
  /** For a person. */
  readonly text: string
}

export interface AssumptionAnswer {
  /** Stable, such as `start_from_end`. */
  readonly flag: string
  readonly sentence: string
}

/** A measure as its samples are: what a question with these labels and this time shows is what the figures are of. */
export interface TaskChartAnswer {
  /** Which of the figures it shows, such as `gpu_utilization_ratio`. */
  readonly name: string
  /** Which GPU; null: the node's. */
  readonly gpu: string | null
  /** Of `GET /api/public/metrics/query`. */
  readonly metric: string
  readonly series: readonly {
    /** All of the series' labels. */
    readonly labels: Readonly<Record<string, string>>
    /** The same as a selector of PromQL. */
    readonly selector: string
  }[]
  /** It counts: what is to be shown is how fast it rises. */
  readonly counter: boolean
  /** What values are multiplied by to be in `unit`; of a counter: what their rise per second is. */
  readonly scale: number
  readonly unit: string
  readonly from: string
  readonly to: string
}

export type UsageGroupAnswer =
  | 'user'
  | 'project'
  | 'department'
  | 'model'
  | 'node'
  | 'resource'
  | 'slot'
  | 'hour'
  | 'day'
  | 'month'
  | 'tenant'

/** `GET /v1/usage`. */
export interface UsageAnswer {
  readonly from: string
  readonly to: string
  readonly group_by: readonly UsageGroupAnswer[]
  /** In the order of the groups; amounts of different resources are never added up, nor are currencies. */
  readonly data: readonly UsageGroupLineAnswer[]
  readonly next_cursor: string | null
  /** Of the whole period, whatever page this is: a line for each resource and currency. */
  readonly totals: readonly UsageTotalAnswer[]
}

export interface UsageTotalAnswer {
  readonly resource: string
  /** `s`, `Wh`, `B`, `1`. */
  readonly unit: string
  /** A decimal number, exact to a millionth of the unit. */
  readonly amount: string
  /** Of it: what no user is known for. */
  readonly unattributed_amount: string
  /** Millionths of `currency`; null: nothing of it has a price. */
  readonly cost_micros: number | null
  readonly currency: string | null
}

/** Each of what it was grouped by; '' is what is not known. What was not asked for is absent. */
export interface UsageGroupLineAnswer {
  readonly tenant?: string
  readonly user_id?: string
  readonly project?: string
  readonly department?: string
  readonly model?: string
  readonly node_id?: string
  /** Start of the quarter of an hour, hour, day or month, UTC. */
  readonly period?: string
  readonly resource: string
  readonly unit: string
  readonly amount: string
  /** Attempts that have a part in it. */
  readonly tasks: number
  readonly cost_micros: number | null
  readonly currency: string | null
}
