/**
 * What was seen of a run besides its error text, inside its window, and what each kind says of the category. Evidence that cannot be
 * read (an unknown counter, no growth, not a number) decides nothing and is no error.
 */
import type { Category } from './categories.ts'
import type { Strength } from './strengths.ts'
import { XID_CLASSES, XIDS } from './xids.ts'

export type Evidence =
  /** An XID that appeared in the window: a transition of the gauge (`xidTransitions`), or a line of the kernel's log. */
  | { readonly kind: 'xid'; readonly number: number; readonly gpu?: string }
  /** A counter of DCGM that grew in the window, by its DCGM name, and by how much. */
  | { readonly kind: 'counter'; readonly name: string; readonly grew: number; readonly gpu?: string }
  /** Bits of `DCGM_FI_DEV_CLOCKS_EVENT_REASONS` that were set at some time in the window. */
  | { readonly kind: 'throttle'; readonly reasons: number; readonly gpu?: string }
  /** The highest `FB_USED` of the window and what the GPU has, both in one unit. */
  | { readonly kind: 'gpu_memory'; readonly used: number; readonly total: number; readonly gpu?: string }
  /** A pod's or a container's reason, as Kubernetes gives it: `OOMKilled`, `Evicted`, … */
  | { readonly kind: 'pod'; readonly reason: string }
  /** A job's final state, as Slurm gives it, cut or not: `OUT_OF_MEMORY`, `OUT_OF_ME+`, `CANCELLED by 1000`. */
  | { readonly kind: 'slurm'; readonly state: string }
  /** `result` of the model's `load.complete`. */
  | { readonly kind: 'load'; readonly result: boolean }
  /** `result` of the policy check (PBAC) that stood before the run. */
  | { readonly kind: 'policy'; readonly result: boolean }
  /** Our own quota refused the reservation. */
  | { readonly kind: 'quota_refused' }
  /** A cancel event. */
  | { readonly kind: 'cancelled' }

/** What one piece of evidence says. */
export interface Finding {
  readonly rule: string
  readonly category: Category
  readonly type: string
  readonly strength: Strength
}

/** DCGM's counters whose growth is a cause. Corrected errors and successful remaps are not: the memory did its work. */
const COUNTERS: Readonly<Record<string, Finding>> = {
  DCGM_FI_DEV_ROW_REMAP_FAILURE: counter('row_remap_failure', 'gpu.hardware', 'hardware'),
  DCGM_FI_DEV_ECC_DBE_VOL_TOTAL: counter('ecc_uncorrectable', 'gpu.hardware', 'hardware'),
  DCGM_FI_DEV_ECC_DBE_AGG_TOTAL: counter('ecc_uncorrectable', 'gpu.hardware', 'hardware'),
  DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS: counter('rows_remapped', 'gpu.hardware', 'hardware'),
  DCGM_FI_DEV_RETIRED_DBE: counter('pages_retired', 'gpu.hardware', 'hardware'),
  DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL: counter('nvlink_recovery', 'net.fabric', 'throttled'),
}

/** Bits of the clocks' event reasons. Idle, user settings, sync boost and the ordinary power cap are how a healthy GPU works. */
const THROTTLES: readonly (readonly [bit: number, type: string])[] = [
  [0x40, 'hw_thermal_slowdown'],
  [0x80, 'hw_power_brake'],
  [0x20, 'sw_thermal_slowdown'],
  [0x08, 'hw_slowdown'],
]

/** By state: category, type, and the strength where it is not the scheduler's. */
type States = Readonly<Record<string, readonly [category: Category, type: string, strength?: Strength]>>

/** Kubernetes' reasons, of containers, pods and the condition DisruptionTarget. */
const POD_REASONS: States = {
  OOMKilled: ['resource.oom_host', 'oom_killed'],
  Evicted: ['sched.evicted', 'pod_evicted'],
  TerminationByKubelet: ['sched.evicted', 'pod_evicted'],
  EvictionByEvictionAPI: ['sched.evicted', 'eviction_api'],
  DeletionByTaintManager: ['sched.evicted', 'taint'],
  TaintManagerEviction: ['sched.evicted', 'taint'],
  Preempted: ['sched.preempted', 'pod_preempted'],
  Preempting: ['sched.preempted', 'pod_preempted'],
  PreemptionByScheduler: ['sched.preempted', 'pod_preempted'],
  NodeLost: ['sched.node_fail', 'node_lost'],
  NodeShutdown: ['sched.node_fail', 'node_shutdown'],
  Shutdown: ['sched.node_fail', 'node_shutdown'],
  DeletionByPodGC: ['sched.node_fail', 'node_lost'],
  DeadlineExceeded: ['resource.timeout', 'time_limit'],
  UnexpectedAdmissionError: ['platform.internal', 'admission'],
  ErrImagePull: ['software.library', 'image_pull'],
  ImagePullBackOff: ['software.library', 'image_pull'],
}

/** Slurm's final states that name a cause. FAILED and COMPLETED name none. */
const SLURM_STATES: States = {
  OUT_OF_MEMORY: ['resource.oom_host', 'oom_killed'],
  TIMEOUT: ['resource.timeout', 'time_limit'],
  DEADLINE: ['resource.timeout', 'time_limit'],
  PREEMPTED: ['sched.preempted', 'job_preempted'],
  NODE_FAIL: ['sched.node_fail', 'node_failure'],
  BOOT_FAIL: ['sched.node_fail', 'node_failure'],
  LAUNCH_FAILED: ['sched.node_fail', 'node_failure'],
  // By whom is not said: srun cancels the steps of a job that failed. A text that states another reason is better.
  CANCELLED: ['user.cancelled', 'job_cancelled', 'specific'],
}

/** Share of a GPU's memory from which on it counts as full; the driver keeps some back. */
const FULL = 0.98

/** What a piece of evidence says of the category; undefined: nothing. */
export function judge(evidence: Evidence): Finding | undefined {
  switch (evidence.kind) {
    case 'xid':
      return judgeXid(evidence.number)
    case 'counter':
      return evidence.grew > 0 && Object.hasOwn(COUNTERS, evidence.name) ? COUNTERS[evidence.name] : undefined
    case 'throttle':
      return judgeThrottle(evidence.reasons)
    case 'gpu_memory':
      return evidence.total > 0 && evidence.used >= FULL * evidence.total
        ? { rule: 'evidence.gpu_memory', category: 'resource.oom_gpu', type: 'gpu_memory_full', strength: 'full' }
        : undefined
    case 'pod':
      return judgeState('pod', POD_REASONS, evidence.reason)
    case 'slurm':
      return judgeState('slurm', SLURM_STATES, slurmState(evidence.state))
    case 'load':
      return evidence.result
        ? undefined
        : { rule: 'evidence.load', category: 'storage.weights', type: 'load_failed', strength: 'load' }
    case 'policy':
      return evidence.result
        ? undefined
        : { rule: 'evidence.policy', category: 'policy.denied', type: 'policy_check', strength: 'refused' }
    case 'quota_refused':
      return { rule: 'evidence.quota', category: 'quota.denied', type: 'quota_refused', strength: 'refused' }
    case 'cancelled':
      return { rule: 'evidence.cancelled', category: 'user.cancelled', type: 'cancel_event', strength: 'cancelled' }
    default:
      return evidence satisfies never
  }
}

/** What an XID says, wherever it was seen; undefined for a number that is unknown or only recorded. */
export function judgeXid(number: number): Finding | undefined {
  const xid = XIDS.get(number)
  const verdict = xid === undefined ? null : XID_CLASSES[xid.class]
  return verdict === null ? undefined : { rule: 'evidence.xid', type: `xid_${number}`, ...verdict }
}

function judgeThrottle(reasons: number): Finding | undefined {
  if (!Number.isInteger(reasons) || reasons < 0 || reasons > 0xffff) return undefined
  const hit = THROTTLES.find(([bit]) => (reasons & bit) !== 0)
  return hit && { rule: 'evidence.throttle', category: 'gpu.thermal_power', type: hit[1], strength: 'throttled' }
}

function judgeState(kind: 'pod' | 'slurm', states: States, state: string): Finding | undefined {
  const known = Object.hasOwn(states, state) ? states[state] : undefined
  return known && { rule: `evidence.${kind}`, category: known[0], type: known[1], strength: known[2] ?? 'scheduler' }
}

/** The whole name of a state that sacct cut to its column (`OUT_OF_ME+`) or wrote more behind (`CANCELLED by 1000`). */
function slurmState(state: string): string {
  const word = state.trim().split(/\s/, 1)[0]?.toUpperCase() ?? ''
  if (!word.endsWith('+')) return word
  const start = word.slice(0, -1)
  const whole = start.length < 4 ? [] : Object.keys(SLURM_STATES).filter((name) => name.startsWith(start))
  return whole.length === 1 ? (whole[0] ?? '') : ''
}

function counter(type: string, category: Category, strength: Strength): Finding {
  return { rule: 'evidence.counter', category, type, strength }
}
