/**
 * A task's signals, in whatever order they came, become its attempts: a function of the set of signals alone.
 *
 *     workflow     S ─────────────── E       S ──────── E        each service's signals, by its own clock, make parts:
 *     generation      S ────────── E           S ──── E          a start after an end begins the next;
 *                  └── attempt 1 ──┘       └─ attempt 2 ─┘       parts of two services that meet are one attempt
 */
import type { Family, TaskSignal } from './signal.ts'
import { bySignalOrder } from './signal.ts'

/** What was assumed, and what a person should know before believing the figures. */
export type TaskFlag =
  | 'start_from_end' // no start was told; the end says when it was
  | 'start_unknown' // an end and nothing that says when it began: the window is empty
  | 'clocks_disagree' // times of two services contradict each other
  | 'verdicts_disagree' // one service says completed, another that it failed
  | 'lost' // no end was told; closed at the last sample
  | 'superseded' // no end was told; the next attempt, on another node, closed it
  | 'signals_dropped' // more signals than are kept of a task
  | 'load_failed' // weights were not loaded, at least once
  | 'pod_ambiguous' // several pods of the node may be its own, so none is taken

export interface Attempt {
  /** From 1. */
  readonly number: number
  /** In their order. */
  readonly signals: readonly TaskSignal[]
  readonly queuedAt: number | undefined
  readonly startedAt: number | undefined
  readonly endedAt: number | undefined
  /** When the generation itself began, on the node. */
  readonly generationAt: number | undefined
  /** The end that decides how it went; undefined: nobody has told one. */
  readonly end: TaskSignal | undefined
  readonly flags: ReadonlySet<TaskFlag>
}

export interface AttemptRules {
  /** How far the clocks of two services may be apart, ms. */
  readonly clockSkewMs: number
}

/** A start and an end as one service told them. */
interface Part {
  readonly family: Family
  readonly signals: Set<TaskSignal>
  startedAt: number | undefined
  /** A start told it, not only an end. */
  startTold: boolean
  end: TaskSignal | undefined
  lostAt: number | undefined
  supersededAt: number | undefined
  inverted: boolean
}

interface Draft {
  number: number | undefined
  readonly parts: Part[]
  readonly queued: TaskSignal[]
}

/** @param signals each once; in any order */
export function attemptsOf(signals: readonly TaskSignal[], rules: AttemptRules): Attempt[] {
  const sorted = [...signals].sort(bySignalOrder)
  const drafts = draftsOf(sorted, rules)
  for (const signal of sorted) if (signal.kind === 'queued') placeQueued(drafts, signal)
  drafts.sort(byBegin)
  const lost = sorted.filter(({ kind }) => kind === 'lost')
  const taken = new Set(drafts.map((draft) => draft.number))
  let free = 1
  const attempts = drafts.map((draft) => {
    if (draft.number !== undefined) return attemptOf(draft, draft.number, lost)
    while (taken.has(free)) free++
    return attemptOf(draft, free++, lost)
  })
  return attempts.sort((a, b) => a.number - b.number)
}

const FAMILIES: readonly Family[] = ['workflow', 'generation']

function draftsOf(sorted: readonly TaskSignal[], rules: AttemptRules): Draft[] {
  const told = sorted.filter((signal) => signal.kind === 'start' || signal.kind === 'end')
  const lost = sorted.filter((signal) => signal.kind === 'lost')
  const drafts: Draft[] = []
  // Where producers count attempts there is nothing to find out.
  for (const number of new Set(told.flatMap((signal) => signal.attempt ?? []))) {
    const own = told.filter((signal) => signal.attempt === number)
    const parts = FAMILIES.flatMap((family) => onePart(partsOf(own, lost, family, rules)))
    drafts.push({ number, parts, queued: [] })
  }
  drafts.sort(byBegin)
  const uncounted = told.filter((signal) => signal.attempt === undefined)
  for (const family of FAMILIES) {
    for (const part of partsOf(uncounted, lost, family, rules)) {
      const draft = draftFor(drafts, part, rules)
      if (draft === undefined) drafts.push({ number: undefined, parts: [part], queued: [] })
      else draft.parts.push(part)
    }
    drafts.sort(byBegin)
  }
  return withoutLoneEnds(drafts)
}

interface PartStep {
  readonly time: number
  readonly kind: 'end' | 'implied' | 'start' | 'lost'
  readonly signal: TaskSignal
}

/** Of one instant: the end of an attempt before the start of the next. */
const STEP_RANK: Record<PartStep['kind'], number> = { end: 0, implied: 1, start: 2, lost: 3 }

/** The starts and ends of one service, put together. */
function partsOf(
  signals: readonly TaskSignal[],
  lost: readonly TaskSignal[],
  family: Family,
  rules: AttemptRules,
): Part[] {
  const steps = signals.filter((signal) => signal.family === family).flatMap(stepsOf)
  if (steps.length === 0) return []
  for (const signal of lost) steps.push({ time: signal.time, kind: 'lost', signal })
  steps.sort((a, b) => a.time - b.time || STEP_RANK[a.kind] - STEP_RANK[b.kind] || bySignalOrder(a.signal, b.signal))
  const parts: Part[] = []
  for (const step of steps) take(parts, step, family)
  return withoutInversions(parts, rules)
}

/** An end that says when it began is a start too. */
function stepsOf(signal: TaskSignal): PartStep[] {
  const step: PartStep = { time: signal.time, kind: signal.kind === 'start' ? 'start' : 'end', signal }
  const { startedAt } = signal
  return startedAt === undefined || startedAt === signal.time
    ? [step]
    : [{ time: startedAt, kind: 'implied', signal }, step]
}

function take(parts: Part[], { time, kind, signal }: PartStep, family: Family): void {
  const last = parts.at(-1)
  if (kind === 'lost') {
    if (last !== undefined && last.end === undefined) last.lostAt = time
    return
  }
  if (kind === 'end') {
    const part = last ?? newPart(parts, family)
    part.signals.add(signal)
    part.end ??= signal // told again: the first is when it ended
    part.startedAt ??= signal.startedAt
    return
  }
  const moved = last !== undefined && isElsewhere(last, signal)
  const over = last === undefined || last.end !== undefined || last.lostAt !== undefined || moved
  if (moved && last.end === undefined && last.lostAt === undefined) last.supersededAt = time
  const part = over ? newPart(parts, family) : last
  part.signals.add(signal)
  part.startedAt ??= time
  part.startTold ||= kind === 'start'
}

function newPart(parts: Part[], family: Family): Part {
  const part: Part = {
    family,
    signals: new Set(),
    startedAt: undefined,
    startTold: false,
    end: undefined,
    lostAt: undefined,
    supersededAt: undefined,
    inverted: false,
  }
  parts.push(part)
  return part
}

/** One service that names another node starts another attempt. */
function isElsewhere(part: Part, { facts }: TaskSignal): boolean {
  for (const signal of part.signals)
    for (const name of ['nodeId', 'nodeName', 'hostName'] as const)
      if (facts[name] !== undefined && signal.facts[name] !== undefined) return facts[name] !== signal.facts[name]
  return false
}

/** An end that nothing began, and a start shortly after it that nothing ended: two clocks of one service told of one attempt. */
function withoutInversions(parts: readonly Part[], { clockSkewMs }: AttemptRules): Part[] {
  const out: Part[] = []
  for (const part of parts) {
    const last = out.at(-1)
    if (
      last?.end !== undefined &&
      last.startedAt === undefined &&
      part.end === undefined &&
      part.startedAt! - last.end.time <= clockSkewMs
    ) {
      for (const signal of part.signals) last.signals.add(signal)
      last.startedAt = part.startedAt
      last.startTold = part.startTold
      last.inverted = true
    } else out.push(part)
  }
  return out
}

/** Parts of one service that its producer counts as one attempt. */
function onePart(parts: readonly Part[]): Part[] {
  const [first, ...more] = parts
  if (first === undefined) return []
  for (const part of more) {
    for (const signal of part.signals) first.signals.add(signal)
    first.end = part.end ?? first.end
    first.startTold ||= part.startTold
    first.lostAt = part.lostAt ?? first.lostAt
  }
  return [first]
}

/** The attempt that a part of another service belongs to: the one it overlaps most, else the nearest within the skew of clocks. */
function draftFor(drafts: readonly Draft[], part: Part, { clockSkewMs }: AttemptRules): Draft | undefined {
  let best: Draft | undefined
  let bestOverlap = Number.NEGATIVE_INFINITY
  const own = spanOf([part])
  for (const draft of drafts) {
    const span = spanOf(draft.parts)
    const overlap = Math.min(span.to, own.to) - Math.max(span.from, own.from)
    const near = overlap >= -clockSkewMs && lacks(draft, part)
    if ((overlap > 0 || near) && overlap > bestOverlap) {
      best = draft
      bestOverlap = overlap
    }
  }
  return best
}

const lacks = (draft: Draft, { family }: Part): boolean => !draft.parts.some((part) => part.family === family)

/** An end alone belongs to the attempt that another service saw begin last before it. */
function withoutLoneEnds(drafts: readonly Draft[]): Draft[] {
  const begun = drafts.filter(({ parts }) => parts.some((part) => part.startedAt !== undefined))
  const left = drafts.filter((draft) => {
    const [part, ...more] = draft.parts
    if (part === undefined || more.length > 0 || part.startedAt !== undefined || draft.number !== undefined) return true
    const owner = begun.findLast((other) => beginOf(other) <= part.end!.time)
    if (owner === undefined || !lacks(owner, part)) return true
    owner.parts.push(part)
    return false
  })
  return left.sort(byBegin)
}

function spanOf(parts: readonly Part[]): { from: number; to: number } {
  let from = Number.POSITIVE_INFINITY
  let to = Number.NEGATIVE_INFINITY
  for (const part of parts) {
    from = Math.min(from, part.startedAt ?? part.end!.time)
    to = Math.max(to, part.end?.time ?? part.lostAt ?? part.supersededAt ?? Number.POSITIVE_INFINITY)
  }
  return { from, to: Math.max(from, to) }
}

const beginOf = ({ parts, queued }: Draft): number => (parts.length === 0 ? queued[0]!.time : spanOf(parts).from)

/** Of attempts that begin at one instant the order is that of their first signals. */
function byBegin(a: Draft, b: Draft): number {
  return beginOf(a) - beginOf(b) || (a.number ?? 0) - (b.number ?? 0) || (idOf(a) < idOf(b) ? -1 : 1)
}

function idOf({ parts, queued }: Draft): string {
  const ids = [...parts.flatMap(({ signals }) => [...signals]), ...queued].map(({ id }) => id)
  return ids.sort()[0]!
}

/** Queueing is of the attempt that begins next, of the one that runs, or of one that has not begun. */
function placeQueued(drafts: Draft[], signal: TaskSignal): void {
  drafts.sort(byBegin)
  const last = drafts.at(-1)
  const draft =
    signal.attempt !== undefined
      ? drafts.find((d) => d.number === signal.attempt)
      : (drafts.find((d) => d.parts.length > 0 && beginOf(d) >= signal.time) ??
        (last !== undefined && (last.parts.length === 0 || spanOf(last.parts).to >= signal.time) ? last : undefined))
  if (draft === undefined) drafts.push({ number: signal.attempt, parts: [], queued: [signal] })
  else draft.queued.push(signal)
}

function attemptOf({ parts, queued }: Draft, number: number, lost: readonly TaskSignal[]): Attempt {
  const flags = new Set<TaskFlag>()
  if (parts.length === 0) return queuedAttempt(queued, number, lost)
  const signals = [...queued, ...new Set(parts.flatMap((part) => [...part.signals]))].sort(bySignalOrder)
  const started = leastOf(parts.map((part) => part.startedAt))
  const { end, endedAt } = endOf(parts, flags)
  let startedAt = started ?? endedAt
  if (endedAt !== undefined && startedAt !== undefined && startedAt > endedAt) {
    flags.add('clocks_disagree')
    startedAt = endedAt
  }
  if (parts.some((part) => part.inverted && part.startedAt !== part.end?.time)) flags.add('clocks_disagree')
  if (disjoint(parts)) flags.add('clocks_disagree')
  if (started === undefined) flags.add('start_unknown')
  else if (!parts.some((part) => part.startTold)) flags.add('start_from_end')
  const waited = leastOf([...queued.map(({ time }) => time), ...signals.map(({ queuedAt }) => queuedAt)])
  return {
    number,
    signals,
    queuedAt: waited !== undefined && startedAt !== undefined ? Math.min(waited, startedAt) : waited,
    startedAt,
    endedAt,
    generationAt: leastOf(parts.map((part) => (part.family === 'generation' ? part.startedAt : undefined))),
    end,
    flags,
  }
}

/** One that has not begun. Nobody else has more than its queueing to tell, so that any later decision is about it. */
function queuedAttempt(queued: readonly TaskSignal[], number: number, lost: readonly TaskSignal[]): Attempt {
  const queuedAt = queued[0]!.time
  const endedAt = lost.findLast(({ time }) => time >= queuedAt)?.time
  const unknown = { startedAt: undefined, generationAt: undefined, end: undefined }
  return {
    ...unknown,
    number,
    signals: queued,
    queuedAt,
    endedAt,
    flags: new Set<TaskFlag>(endedAt === undefined ? [] : ['lost']),
  }
}

/** The workflow's word on how it went, else the generation's; over when the last of them says so. */
function endOf(
  parts: readonly Part[],
  flags: Set<TaskFlag>,
): { end: TaskSignal | undefined; endedAt: number | undefined } {
  const ends = parts.flatMap((part) => part.end ?? [])
  if (ends.length > 0) {
    ends.sort(bySignalOrder)
    const end = ends.findLast(({ family }) => family === 'workflow') ?? ends.at(-1)!
    if (new Set(ends.map(({ outcome }) => outcome)).size > 1) flags.add('verdicts_disagree')
    return { end, endedAt: ends.at(-1)!.time }
  }
  const lost = parts.flatMap((part) => part.lostAt ?? [])
  const superseded = parts.flatMap((part) => part.supersededAt ?? [])
  if (lost.length > 0) flags.add('lost')
  else if (superseded.length > 0) flags.add('superseded')
  const closed = lost.length > 0 ? lost : superseded
  return { end: undefined, endedAt: closed.length > 0 ? Math.max(...closed) : undefined }
}

/** Two services tell of one attempt at times that have nothing in common. */
function disjoint(parts: readonly Part[]): boolean {
  const spans = parts.map((part) => spanOf([part]))
  return Math.max(...spans.map(({ from }) => from)) > Math.min(...spans.map(({ to }) => to))
}

function leastOf(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}
