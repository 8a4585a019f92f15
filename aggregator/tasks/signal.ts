/** What an event says of a task, or of what happens on a node around tasks. Everything else about the event is left behind. */
import type { FleetEvent } from '../../proto/events/event.ts'

export type Outcome = 'completed' | 'failed' | 'cancelled'

/** What a signal knows of its task besides times. Plain JSON; what is not known is absent. */
export interface TaskFacts {
  readonly userId?: string
  readonly nodeId?: string
  readonly hostName?: string
  /** The Kubernetes node's name. */
  readonly nodeName?: string
  readonly vmType?: string
  readonly model?: string
  readonly url?: string
  readonly pod?: string
  readonly namespace?: string
  readonly resourceId?: string
  readonly processId?: string
  /** Of the operating system, on its node. */
  readonly process?: string
  /** UUIDs or indices, as told. */
  readonly gpus?: readonly string[]
  readonly tokensIn?: number
  readonly tokensOut?: number
  /** Where the producer does not say which way they went. */
  readonly tokens?: number
}

/** Workflow and generation are two services with a clock each that tell of the same task; the owner says what nobody else does. */
export type Family = 'workflow' | 'generation' | 'owner'

export interface TaskSignal {
  /** Of the event: the same id is the same signal. */
  readonly id: string
  /** ms since the epoch, by the clock of who told it. */
  readonly time: number
  readonly family: Family
  readonly kind: 'queued' | 'start' | 'end' | 'lost'
  /** Where the producer counts them, from 1. */
  readonly attempt?: number
  readonly outcome?: Outcome
  /** What an end says of its start, or a start of its queueing, ms. */
  readonly startedAt?: number
  readonly queuedAt?: number
  readonly detail?: string
  readonly tags?: Readonly<Record<string, string>>
  readonly facts: TaskFacts
}

/** Loading of weights, and a pod's life, tied to tasks by node and time. */
export interface StageSignal {
  readonly id: string
  readonly time: number
  readonly stage: 'load' | 'pod'
  /** A pod: begin, ready, freeing, freed. A load: begin and ready. */
  readonly step: 'begin' | 'ready' | 'freeing' | 'freed'
  /** The event that began it. */
  readonly origin?: string
  readonly nodeId?: string
  readonly hostName?: string
  /** Of a load. */
  readonly model?: string
  /** Of a pod. */
  readonly resourceId?: string
  readonly ok?: boolean
  readonly bytes?: number
}

export type Signal =
  | { readonly of: 'task'; readonly taskId: string; readonly signal: TaskSignal }
  | { readonly of: 'node'; readonly signal: StageSignal }

/** Longer texts are in the event itself. */
const DETAIL_CHARACTERS_MAX = 8192
const NAME_CHARACTERS_MAX = 512
const GPUS_MAX = 64
/** Nothing runs for longer: what an end says of its start beyond it is a mistake. */
const TASK_MS_MAX = 400 * 86_400_000

const TASK_KINDS: Readonly<Record<string, readonly [Family, TaskSignal['kind'], Outcome?]>> = {
  'workflow.process.create': ['workflow', 'queued'],
  'workflow.task.start': ['workflow', 'start'],
  'workflow.task.complete': ['workflow', 'end', 'completed'],
  'workflow.task.fail': ['workflow', 'end', 'failed'],
  'workflow.task.cancel': ['workflow', 'end', 'cancelled'],
  'xumi.generation.start': ['generation', 'start'],
  'xumi.generation.complete': ['generation', 'end', 'completed'],
}

const STAGE_KINDS: Readonly<Record<string, readonly [StageSignal['stage'], StageSignal['step']]>> = {
  'xumi.weights.load.start': ['load', 'begin'],
  'xumi.weights.load.complete': ['load', 'ready'],
  'kuber.deploy.start': ['pod', 'begin'],
  'kuber.deploy.start.complete': ['pod', 'ready'],
  'kuber.deploy.free': ['pod', 'freeing'],
  'kuber.deploy.free.complete': ['pod', 'freed'],
}

/** @returns undefined where the event has nothing to say here */
export function signalOf(event: FleetEvent): Signal | undefined {
  const time = Date.parse(event.timestamp)
  if (!Number.isFinite(time)) return undefined
  if (Object.hasOwn(TASK_KINDS, event.event_type)) return taskSignal(event, time)
  if (Object.hasOwn(STAGE_KINDS, event.event_type)) return { of: 'node', signal: stageSignal(event, time) }
  return undefined
}

function taskSignal(event: FleetEvent, time: number): Signal | undefined {
  const taskId = text(event['task_id'])
  if (taskId === undefined) return undefined
  const [family, kind, usual] = TASK_KINDS[event.event_type]!
  const detail = fullText(event['detail'])
  const signal = known<TaskSignal>({
    id: event.event_id,
    time,
    family,
    kind,
    attempt: attemptIn(event),
    outcome: usual === undefined ? undefined : outcomeOf(event, usual, detail),
    startedAt: kind === 'end' ? timeIn(event['start_generation'], time) : undefined,
    queuedAt: kind === 'start' ? queuedAtIn(event, time) : undefined,
    detail: detail?.slice(0, DETAIL_CHARACTERS_MAX),
    tags: event.tags === undefined || Object.keys(event.tags).length === 0 ? undefined : { ...event.tags },
    facts: factsOf(event),
  })
  return { of: 'task', taskId, signal }
}

function stageSignal(event: FleetEvent, time: number): StageSignal {
  const [stage, step] = STAGE_KINDS[event.event_type]!
  return known<StageSignal>({
    id: event.event_id,
    time,
    stage,
    step,
    origin: text(event['origin_event_id']) ?? text(event['previous_event_id']),
    nodeId: text(event['node_id']),
    hostName: text(event['host_name']),
    model: stage === 'load' ? text(event['model']) : undefined,
    resourceId: stage === 'pod' ? text(event['resource_id']) : undefined,
    ok: typeof event['result'] === 'boolean' ? event['result'] : undefined,
    bytes: amount(event['size']),
  })
}

function factsOf(event: FleetEvent): TaskFacts {
  return known<TaskFacts>({
    userId: text(event.user_id),
    nodeId: text(event['node_id']),
    hostName: text(event['host_name']),
    nodeName: text(event['kubernetes_node']) ?? text(event['node_name']) ?? text(event['node']),
    vmType: text(event['vm_type']),
    model: text(event['model']),
    url: text(event['url']),
    pod: text(event['pod']) ?? text(event['pod_name']),
    namespace: text(event['namespace']),
    resourceId: text(event['resource_id']),
    processId: text(event['workflow_process_id']),
    process: text(typeof event['pid'] === 'number' ? String(event['pid']) : event['pid']),
    gpus: gpusIn(event['gpus'] ?? event['gpu_uuids'] ?? event['gpu_uuid'] ?? event['gpu']),
    tokensIn: firstAmount(event, ['tokens_in', 'input_tokens', 'prompt_tokens', 'promptTokens']),
    tokensOut: firstAmount(event, ['tokens_out', 'output_tokens', 'completion_tokens', 'completionTokens']),
    tokens: firstAmount(event, ['tokens', 'total_tokens', 'totalTokens']),
  })
}

function outcomeOf(event: FleetEvent, usual: Outcome, detail: string | undefined): Outcome {
  if (usual === 'failed' || event['result'] === false) {
    const status = text(event['status']) ?? detail ?? ''
    return /^(?:task )?cancell?ed\b/i.test(status) ? 'cancelled' : 'failed'
  }
  return usual
}

function attemptIn(event: FleetEvent): number | undefined {
  const value = event['attempt']
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 1e6 ? value : undefined
}

/** When queueing began: a time, or for how many seconds it lasted. */
function queuedAtIn(event: FleetEvent, time: number): number | undefined {
  const at = timeIn(event['queued_at'], time) ?? timeIn(event['queue_time'], time)
  if (at !== undefined) return at
  const seconds = amount(event['queue_seconds']) ?? amount(event['queue_time'])
  return seconds === undefined || seconds * 1000 > TASK_MS_MAX ? undefined : Math.round(time - seconds * 1000)
}

/** A time before another; what cannot be one is as if not said. */
function timeIn(value: unknown, before: number): number | undefined {
  if (typeof value !== 'string') return undefined
  const time = Date.parse(/(?:[zZ]|[+-]\d\d:?\d\d)$/.test(value) ? value : `${value}Z`)
  return time <= before && time > before - TASK_MS_MAX ? time : undefined
}

function gpusIn(value: unknown): string[] | undefined {
  const list = Array.isArray(value) ? value : typeof value === 'string' ? value.split(',') : [value]
  const gpus = list.flatMap((gpu) => text(typeof gpu === 'number' ? String(gpu) : gpu)?.trim() ?? [])
  return gpus.length === 0 ? undefined : [...new Set(gpus)].sort().slice(0, GPUS_MAX)
}

function firstAmount(event: FleetEvent, names: readonly string[]): number | undefined {
  const usage = event['usage']
  const nested = typeof usage === 'object' && usage !== null ? (usage as Record<string, unknown>) : {}
  for (const name of names) {
    const value = amount(event[name]) ?? amount(nested[name])
    if (value !== undefined) return value
  }
  return undefined
}

function amount(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? value : undefined
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, NAME_CHARACTERS_MAX) : undefined
}

function fullText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** Without what is not known, so that a signal is the same before and after it was JSON. */
function known<T>(fields: { readonly [K in keyof T]: T[K] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T
}

/** The order in which signals are read: by time; a start before an end of the same instant, then by id. */
export function bySignalOrder(a: TaskSignal, b: TaskSignal): number {
  return a.time - b.time || KIND_RANK[a.kind] - KIND_RANK[b.kind] || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}

const KIND_RANK: Record<TaskSignal['kind'], number> = { queued: 0, start: 1, end: 2, lost: 3 }
