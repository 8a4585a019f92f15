/** Answers about what nodes delivered: types without imports, for the page too. */

/** A GPU's index says nothing without its node: with `gpu` there is `node`. */
export type NodeUsageGroupAnswer = 'node' | 'gpu' | 'gpu_model' | 'vm_type' | 'slot' | 'hour' | 'day' | 'month'

/** `GET /v1/usage/nodes`. */
export interface NodeUsageAnswer {
  readonly from: string
  readonly to: string
  /** What was there later is not in it. */
  readonly as_of: string
  readonly group_by: readonly NodeUsageGroupAnswer[]
  /** In the order of the groups; currencies are never added up. */
  readonly data: readonly NodeUsageLineAnswer[]
  readonly next_cursor: string | null
  /** Of the whole period, whatever page this is: a line for each currency. */
  readonly totals: readonly NodeUsageSumsAnswer[]
  /** How it was found that GPUs were there. */
  readonly method: 'samples' | 'hourly_figures' | 'hourly_figures, samples'
  /** What the figures cannot resolve, in sentences. */
  readonly warnings: readonly string[]
}

/** attributed + idle = delivered + unmeasured, exactly. GPU-seconds are decimal numbers, exact to a millionth. */
export interface NodeUsageSumsAnswer {
  /** How many there were, or were counted. */
  readonly gpus: number
  /** While samples say that the GPUs were there. */
  readonly delivered_gpu_seconds: string
  /** What tasks were counted: `gpu_seconds` of `GET /v1/usage`. */
  readonly attributed_gpu_seconds: string
  /** Delivered, and no task had it. */
  readonly idle_gpu_seconds: string
  /** Attributed, and no sample says that it was there. */
  readonly unmeasured_gpu_seconds: string
  /** Idle of what was delivered, 0 to 1; null: nothing was. */
  readonly idle_ratio: number | null
  /** Delivered of the time asked for, of these GPUs, 0 to 1. */
  readonly coverage: number
  /** Millionths of `currency`; null: nothing says what it costs. */
  readonly delivered_cost_micros: number | null
  readonly attributed_cost_micros: number | null
  readonly idle_cost_micros: number | null
  readonly currency: string | null
}

/** Each of what it was grouped by; '' is what is not known. What was not asked for is absent. */
export interface NodeUsageLineAnswer extends NodeUsageSumsAnswer {
  readonly node_id?: string
  /** UUID or index; '': those that tasks named and no sample. */
  readonly gpu?: string
  readonly gpu_model?: string
  readonly vm_type?: string
  /** Start of the quarter of an hour, hour, day or month, UTC. */
  readonly period?: string
}
