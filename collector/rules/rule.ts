/**
 * What an aggregation rule is, once it has been read: `match` which series, in windows of `interval` by sample time, one
 * output series a group and output.
 */
import type { Label } from '../../proto/wire/labels.ts'
import type { Selector } from '../../proto/wire/selector.ts'

/** What is computed of a window's samples of a group; the names are vmagent's where it has them. */
export type Output =
  | { readonly kind: PlainOutput }
  /** By linear interpolation, as quantile_over_time; each in [0, 1]. */
  | { readonly kind: 'quantiles'; readonly phis: readonly number[] }

export const PLAIN_OUTPUTS = ['count', 'sum', 'avg', 'min', 'max', 'last', 'increase', 'rate', 'histogram'] as const
export type PlainOutput = (typeof PLAIN_OUTPUTS)[number]

/** Which labels make a group: only these, or all but these. Sorted, each once. */
export interface Grouping {
  readonly kind: 'by' | 'without'
  readonly labels: readonly string[]
}

export interface Rule {
  /** For people: in metrics and messages. */
  readonly name: string
  /** A series belongs to the rule when any of them matches it. */
  readonly match: readonly Selector[]
  /** Length of a window, ms; divides a day, so that windows are aligned with the epoch. */
  readonly intervalMs: number
  readonly grouping: Grouping
  readonly outputs: readonly Output[]
  /** False: the samples that went into windows are not stored themselves. */
  readonly keepInput: boolean
  /** A window is given out this long after its end, ms. */
  readonly graceMs: number
  /** Stands for the series' own name in groups and outputs: several metrics then fold into one. */
  readonly metric: string | undefined
  /** Labels that its outputs get besides. */
  readonly labels: readonly Label[]
}

/** Not of the configuration: what becomes of series beyond the cardinality bounds. Matches nothing; series are sent to it. */
export const OVERFLOW_RULE: Rule = {
  name: 'overflow',
  match: [],
  intervalMs: 60_000,
  grouping: { kind: 'by', labels: [] },
  outputs: [{ kind: 'sum' }, { kind: 'count' }, { kind: 'min' }, { kind: 'max' }],
  keepInput: false,
  graceMs: 5000,
  metric: undefined,
  labels: [['__overflow__', 'true']],
}

/** Whether the rule needs to know how counters grew, and so a series' newest sample of the window before. */
export function countsIncrease(rule: Rule): boolean {
  return rule.outputs.some(({ kind }) => kind === 'increase' || kind === 'rate')
}

/** 60000 → 1m. */
export function formatDuration(ms: number): string {
  for (const [unit, size] of DURATION_UNITS) if (ms > 0 && ms % size === 0) return `${ms / size}${unit}`
  return `${ms}ms`
}

/** 1m → 60000; undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})(ms|s|m|h)$/.exec(text.trim())
  if (match === null) return undefined
  return Number(match[1]) * (DURATION_UNITS.find(([unit]) => unit === match[2])?.[1] ?? 1)
}

const DURATION_UNITS: readonly (readonly [unit: string, ms: number])[] = [
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
]
