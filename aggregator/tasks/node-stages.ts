/**
 * What happens on a node around tasks: weights being loaded, pods' lives. None of it names a task.
 *
 *     load  B ── R                  B ── R          a load is of the next task of its node and model
 *     tasks         S ─── E   S ── E         S …
 *     pod   B ──────────────────────────────────▶   a pod is of the tasks that its life covers
 */
import type { StageSignal } from './signal.ts'

/** Times in ms since the epoch. */
export interface WeightsLoad {
  readonly startedAt?: number
  readonly endedAt?: number
  readonly ok?: boolean
  readonly bytes?: number
}

export interface PodLife {
  readonly resourceId?: string
  readonly deployedAt?: number
  readonly readyAt?: number
  readonly freeingAt?: number
  readonly freedAt?: number
}

interface Stage {
  begin?: StageSignal
  ready?: StageSignal
  freeing?: StageSignal
  freed?: StageSignal
}

/** Stages of one node and model, or of one node's pods: as many are kept, the newest. */
const SIGNALS_MAX = 512

export class NodeStages {
  readonly #groups = new Map<string, Group>()

  get size(): number {
    let signals = 0
    for (const group of this.#groups.values()) signals += group.signals.size
    return signals
  }

  /** @param group from {@link loadGroup} or {@link podGroup}; @returns whether anything is new */
  add(group: string, signal: StageSignal): boolean {
    let found = this.#groups.get(group)
    if (found === undefined) {
      found = { signals: new Map(), stages: undefined }
      this.#groups.set(group, found)
    }
    if (found.signals.has(signal.id)) return false
    found.signals.set(signal.id, signal)
    found.stages = undefined
    if (found.signals.size > SIGNALS_MAX) found.signals.delete([...found.signals.values()].sort(byTime)[0]!.id)
    return found.signals.has(signal.id)
  }

  /** Loads that began, or else ended, in (after, until], in their order. */
  loadsOf(group: string, after: number, until: number): WeightsLoad[] {
    return this.#stagesOf(group).flatMap(({ begin, ready }) => {
      const at = begin?.time ?? ready!.time
      if (at <= after || at > until) return []
      return [
        {
          ...(begin === undefined ? {} : { startedAt: begin.time }),
          ...(ready === undefined ? {} : { endedAt: Math.max(ready.time, at) }),
          ...(ready?.ok === undefined ? {} : { ok: ready.ok }),
          ...(ready?.bytes === undefined ? {} : { bytes: ready.bytes }),
        },
      ]
    })
  }

  /** The pod whose life meets a window; of several the one of the resource. */
  podOf(group: string, resourceId: string | undefined, from: number, to: number): PodLife | 'ambiguous' | undefined {
    const alive = this.#stagesOf(group).filter((stage) => {
      const begin = stage.begin?.time ?? Number.NEGATIVE_INFINITY
      const freed = stage.freed?.time ?? stage.freeing?.time ?? Number.POSITIVE_INFINITY
      return begin <= to && freed >= from
    })
    const own = resourceId === undefined ? [] : alive.filter((stage) => resourceOf(stage) === resourceId)
    const found = own.length > 0 ? own.slice(-1) : alive
    if (found.length > 1) return 'ambiguous'
    return found[0] === undefined ? undefined : lifeOf(found[0])
  }

  /** The signals of a group that began in (after, until]: what goes with a task that leaves memory. */
  signalsOf(group: string, after: number, until: number): StageSignal[] {
    const stages = this.#stagesOf(group).filter((stage) => {
      const at = firstOf(stage).time
      return at > after && at <= until
    })
    return stages.flatMap((stage) => Object.values(stage))
  }

  delete(group: string, signals: readonly StageSignal[]): void {
    const found = this.#groups.get(group)
    if (found === undefined) return
    for (const { id } of signals) found.signals.delete(id)
    found.stages = undefined
    if (found.signals.size === 0) this.#groups.delete(group)
  }

  /** Forgets stages whose last signal is older than `before` and that `kept` does not want. */
  forget(before: number, kept: (group: string, time: number) => boolean): void {
    for (const group of [...this.#groups.keys()]) {
      for (const stage of this.#stagesOf(group)) {
        const signals = Object.values(stage) as StageSignal[]
        if (signals.every(({ time }) => time < before) && !kept(group, firstOf(stage).time)) this.delete(group, signals)
      }
    }
  }

  /** All signals, for a snapshot. */
  *entries(): Generator<[group: string, signal: StageSignal]> {
    for (const [group, { signals }] of this.#groups) for (const signal of signals.values()) yield [group, signal]
  }

  #stagesOf(name: string): Stage[] {
    const group = this.#groups.get(name)
    if (group === undefined) return []
    group.stages ??= stagesOf([...group.signals.values()])
    return group.stages
  }
}

interface Group {
  readonly signals: Map<string, StageSignal>
  stages: Stage[] | undefined
}

/** @param node canonical name */
/** Hosts are told apart as DNS does: case is nothing. */
export const loadGroup = (tenant: string, node: string, model: string): string =>
  JSON.stringify([tenant, node.toLowerCase(), model])
export const podGroup = (tenant: string, node: string): string => JSON.stringify([tenant, node.toLowerCase()])

/** A function of the set: each step joins the stage that its origin began, else the nearest before that lacks it. */
function stagesOf(signals: readonly StageSignal[]): Stage[] {
  const sorted = [...signals].sort(byTime)
  const stages: Stage[] = []
  const byId = new Map<string, Stage>()
  for (const signal of sorted) {
    if (signal.step !== 'begin') continue
    const stage: Stage = { begin: signal }
    stages.push(stage)
    byId.set(signal.id, stage)
  }
  for (const step of ['ready', 'freeing', 'freed'] as const) {
    for (const signal of sorted) {
      if (signal.step !== step) continue
      const own = signal.origin === undefined ? undefined : byId.get(signal.origin)
      const stage =
        own !== undefined && own[step] === undefined
          ? own
          : stages.findLast(
              (s) =>
                s[step] === undefined &&
                firstOf(s).time <= signal.time &&
                (s.freed === undefined || s.freed.time >= signal.time) &&
                resourceOf(s) === signal.resourceId,
            )
      if (stage !== undefined) stage[step] = signal
      else stages.push({ [step]: signal })
    }
    stages.sort((a, b) => byTime(firstOf(a), firstOf(b)))
  }
  return stages
}

function firstOf({ begin, ready, freeing, freed }: Stage): StageSignal {
  return (begin ?? ready ?? freeing ?? freed)!
}

const resourceOf = (stage: Stage): string | undefined => firstOf(stage).resourceId

function lifeOf(stage: Stage): PodLife {
  const resourceId = resourceOf(stage)
  return {
    ...(resourceId === undefined ? {} : { resourceId }),
    ...(stage.begin === undefined ? {} : { deployedAt: stage.begin.time }),
    ...(stage.ready === undefined ? {} : { readyAt: stage.ready.time }),
    ...(stage.freeing === undefined ? {} : { freeingAt: stage.freeing.time }),
    ...(stage.freed === undefined ? {} : { freedAt: stage.freed.time }),
  }
}

function byTime(a: StageSignal, b: StageSignal): number {
  return a.time - b.time || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0)
}
