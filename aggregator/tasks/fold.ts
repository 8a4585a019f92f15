/**
 * Tasks as a fold over logged events. What is kept of a task is the set of its signals; its record is a function of that set and
 * of what happened on its node. So order, repeats and delay of the same events change nothing, and a record that was wrong for want
 * of an event is right when it has come. There is no clock here: what only time can say (a task is lost, one leaves memory) comes in
 * as a decision, which the owner logs first.
 */
import type { FleetEvent } from '../../proto/events/event.ts'
import { Anchors } from './anchors.ts'
import type { Attempt } from './attempts.ts'
import { attemptsOf } from './attempts.ts'
import { loadGroup, NodeStages, podGroup } from './node-stages.ts'
import type { StageSignal, TaskFacts, TaskSignal } from './signal.ts'
import { signalOf } from './signal.ts'
import type { Span } from './step-function.ts'
import type { TaskKey, TaskRecord } from './task-record.ts'
import { factsOf, recordOf } from './task-record.ts'
import type { PlacedAttempt, Task, TaskMemory } from './task-state.ts'
import { addSignal, isClosed, keyOf, lastSignalOf, memoryOf } from './task-state.ts'

export interface FoldOptions {
  /** How far clocks of services may be apart, ms. */
  readonly clockSkewMs: number
  /** The one name of the node that these facts name; undefined: they name none. */
  readonly nodeOf: (tenant: string, facts: Pick<TaskFacts, 'nodeId' | 'hostName' | 'nodeName'>) => string | undefined
  /** Tasks in memory; more make the oldest leave. */
  readonly tasksMax: number
  /** Closed tasks leave so long after their last signal, ms. */
  readonly closedKeptMs: number
  /** Stages of nodes that no task took are forgotten so long after, ms. */
  readonly stagesKeptMs: number
}

/** A record that is new or differs; without one, the attempt turned out to be part of another. */
export interface TaskChange {
  readonly key: TaskKey
  readonly record: TaskRecord | undefined
  /** As it was before; undefined: it is new. */
  readonly before: TaskRecord | undefined
}

/** What came of something that was told. */
export interface Told {
  /** Records that it changes, of its task and of others. */
  readonly changes: readonly TaskChange[]
  /** The task that it is kept of, though it may change none of its records yet: the archive has to have it too. Absent: it is nothing new. */
  readonly keptOf?: Omit<TaskKey, 'attempt'>
}

/** An attempt while it was on a node; to infinity where nobody told its end. */
export interface TaskSpan extends Span {
  readonly key: TaskKey
}

/** Nobody told an end: closed at the last sample. Logged before it is applied; a later end is believed instead. */
export interface LostDecision {
  readonly id: string
  readonly tenant: string
  readonly taskId: string
  /** ms since the epoch. */
  readonly time: number
}

/** Plain JSON. */
export interface FoldSnapshot {
  readonly format: 1
  readonly tasks: readonly TaskMemory[]
  readonly stages: readonly (readonly [group: string, signal: StageSignal])[]
  readonly floors: readonly (readonly [group: string, at: number])[]
  readonly forgets: boolean
}

const NOTHING: Told = { changes: [] }

export class TaskFold {
  readonly #options: FoldOptions
  readonly #tasks = new Map<string, Task>()
  readonly #stages = new NodeStages()
  readonly #anchors = new Anchors()
  /** Tasks on a node. */
  readonly #onNode = new Map<string, Set<string>>()
  /** Loads up to here are of tasks that have left memory. */
  readonly #floors = new Map<string, number>()
  #forgets = false

  constructor(options: FoldOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#tasks.size
  }

  /**
   * The task that has to be looked for in the archive, and be given to {@link restore} where it is found, before the event is applied:
   * it is not in memory, and tasks have left it.
   */
  needs(tenant: string, event: FleetEvent): { readonly tenant: string; readonly taskId: string } | undefined {
    const signal = this.#forgets ? signalOf(event) : undefined
    if (signal?.of !== 'task' || this.#tasks.has(keyOf(tenant, signal.taskId))) return undefined
    return { tenant, taskId: signal.taskId }
  }

  apply(tenant: string, event: FleetEvent): Told {
    const signal = signalOf(event)
    if (signal === undefined) return NOTHING
    return signal.of === 'task'
      ? this.#tell(tenant, signal.taskId, signal.signal)
      : { changes: this.#tellNode(tenant, signal.signal) }
  }

  applyLost({ id, tenant, taskId, time }: LostDecision): Told {
    if (!this.#tasks.has(keyOf(tenant, taskId))) return NOTHING
    return this.#tell(tenant, taskId, { id, time, family: 'owner', kind: 'lost', facts: {} })
  }

  /** @returns undefined where it is not in memory */
  record({ tenant, taskId, attempt }: TaskKey): TaskRecord | undefined {
    const json = this.#tasks.get(keyOf(tenant, taskId))?.records.get(attempt)
    return json === undefined ? undefined : (JSON.parse(json) as TaskRecord)
  }

  *records(): Generator<TaskRecord> {
    for (const task of this.#tasks.values())
      for (const json of task.records.values()) yield JSON.parse(json) as TaskRecord
  }

  get openCount(): number {
    let open = 0
    for (const { attempts } of this.#tasks.values())
      for (const { attempt } of attempts) if (attempt.endedAt === undefined) open++
    return open
  }

  /** Attempts that nobody told the end of, and that began, or came to wait, by then, ms. */
  *openRecords(begunBy: number): Generator<TaskRecord> {
    for (const { attempts, records } of this.#tasks.values())
      for (const { attempt } of attempts) {
        const { startedAt, queuedAt, endedAt, number } = attempt
        const begun = startedAt ?? queuedAt
        if (endedAt === undefined && begun !== undefined && begun <= begunBy)
          yield JSON.parse(records.get(number)!) as TaskRecord
      }
  }

  /** When it was, without its record being read. */
  timesOf({ tenant, taskId, attempt }: TaskKey): Pick<Attempt, 'startedAt' | 'endedAt'> | undefined {
    return this.#tasks.get(keyOf(tenant, taskId))?.attempts.find((placed) => placed.attempt.number === attempt)?.attempt
  }

  /** Tasks on a node at some time in [from, to): whoever may share it. @param node as {@link FoldOptions.nodeOf} names it */
  onNode(tenant: string, node: string, from: number, to: number): TaskRecord[] {
    return [...this.spansOnNode(tenant, node, from, to)].flatMap(({ key }) => this.record(key) ?? [])
  }

  /** The same by their keys, with when they were there. */
  *spansOnNode(tenant: string, node: string, from: number, to: number): Generator<TaskSpan> {
    const group = podGroup(tenant, node)
    for (const name of this.#onNode.get(group) ?? []) {
      const { taskId, attempts } = this.#tasks.get(name)!
      for (const { attempt, pods } of attempts) {
        const { startedAt, endedAt = Number.POSITIVE_INFINITY, number } = attempt
        if (pods === group && startedAt !== undefined && startedAt < to && endedAt > from)
          yield { key: { tenant, taskId, attempt: number }, from: startedAt, to: endedAt }
      }
    }
  }

  /** Nodes that tasks in memory are on, under each name that their events have for them. */
  nodesByName(): Map<string, { readonly tenant: string; readonly node: string }[]> {
    const found = new Map<string, Map<string, { readonly tenant: string; readonly node: string }>>()
    for (const { tenant, attempts } of this.#tasks.values())
      for (const { facts } of attempts) {
        const node = this.#options.nodeOf(tenant, facts)
        if (node === undefined) continue
        for (const name of [node, facts.nodeId, facts.hostName, facts.nodeName]) {
          if (name === undefined) continue
          const nodes = found.get(name) ?? new Map()
          found.set(name, nodes.set(keyOf(tenant, node), { tenant, node }))
        }
      }
    return new Map([...found].map(([name, nodes]) => [name, [...nodes.values()]]))
  }

  /** Closed tasks that are old; and where there are too many, the oldest, closed ones first. */
  leaving(now: number): { readonly tenant: string; readonly taskId: string; readonly over: boolean }[] {
    const { closedKeptMs, tasksMax } = this.#options
    const all = [...this.#tasks.values()].map((task) => ({ task, closed: isClosed(task), last: lastSignalOf(task) }))
    all.sort((a, b) => Number(b.closed) - Number(a.closed) || a.last - b.last)
    const tooMany = all.length - tasksMax
    return all.flatMap(({ task: { tenant, taskId }, closed, last }, i) =>
      i < tooMany || (closed && last < now - closedKeptMs) ? [{ tenant, taskId, over: i < tooMany }] : [],
    )
  }

  has(tenant: string, taskId: string): boolean {
    return this.#tasks.has(keyOf(tenant, taskId))
  }

  /** Numbers of a task's attempts. */
  attemptsOf(tenant: string, taskId: string): number[] {
    return (this.#tasks.get(keyOf(tenant, taskId))?.attempts ?? []).map(({ attempt }) => attempt.number)
  }

  /** What the archive has to keep of a task, so that it can come back. */
  memoryOf(tenant: string, taskId: string): TaskMemory | undefined {
    const task = this.#tasks.get(keyOf(tenant, taskId))
    return task === undefined ? undefined : memoryOf(task, this.#stagesOf(task))
  }

  /** Takes a task out of memory, which the archive has. From now on {@link needs} names what is not in memory. */
  leave(tenant: string, taskId: string): void {
    const task = this.#tasks.get(keyOf(tenant, taskId))
    if (task === undefined) return
    for (const [group, signal] of this.#stagesOf(task)) this.#stages.delete(group, [signal])
    for (const { loads } of task.attempts) {
      if (loads === undefined || loads.anchor.at === Number.MAX_SAFE_INTEGER) continue
      const floor = this.#floors.get(loads.group) ?? Number.NEGATIVE_INFINITY
      this.#floors.set(loads.group, Math.max(loads.anchor.at, floor))
    }
    this.#remove(task, new Set())
    this.#tasks.delete(keyOf(tenant, taskId))
    this.#forgets = true
    this.#forgetStages(lastSignalOf(task) - this.#options.stagesKeptMs)
  }

  /** A task from the archive, as {@link evict} gave it. One that is in memory is joined with it. */
  restore(memory: TaskMemory): void {
    for (const [group, signal] of memory.stages) this.#stages.add(group, signal)
    const task = this.#taskOf(memory.tenant, memory.taskId)
    for (const signal of memory.signals) addSignal(task, signal)
    task.dropped ||= memory.dropped
    this.#place(task)
    this.#refresh([keyOf(task.tenant, task.taskId)])
  }

  snapshot(): FoldSnapshot {
    return {
      format: 1,
      tasks: [...this.#tasks.values()].map((task) => memoryOf(task, [])),
      stages: [...this.#stages.entries()],
      floors: [...this.#floors],
      forgets: this.#forgets,
    }
  }

  static from(snapshot: FoldSnapshot, options: FoldOptions): TaskFold {
    const fold = new TaskFold(options)
    for (const [group, signal] of snapshot.stages) fold.#stages.add(group, signal)
    for (const [group, at] of snapshot.floors) fold.#floors.set(group, at)
    fold.#forgets = snapshot.forgets
    for (const memory of snapshot.tasks) {
      const task = fold.#taskOf(memory.tenant, memory.taskId)
      for (const signal of memory.signals) task.signals.set(signal.id, signal)
      task.dropped = memory.dropped
      fold.#place(task)
    }
    fold.#refresh([...fold.#tasks.keys()])
    return fold
  }

  #tell(tenant: string, taskId: string, signal: TaskSignal): Told {
    const task = this.#taskOf(tenant, taskId)
    if (!addSignal(task, signal)) return NOTHING
    return { changes: this.#refresh(this.#place(task)), keptOf: { tenant, taskId } }
  }

  #tellNode(tenant: string, signal: StageSignal): TaskChange[] {
    const node = this.#options.nodeOf(tenant, signal)
    if (node === undefined) return []
    if (signal.stage === 'pod') {
      const group = podGroup(tenant, node)
      return this.#stages.add(group, signal) ? this.#refresh(this.#onNode.get(group) ?? []) : []
    }
    if (signal.model === undefined) return []
    const group = loadGroup(tenant, node, signal.model)
    if (signal.time <= (this.#floors.get(group) ?? Number.NEGATIVE_INFINITY)) return []
    return this.#stages.add(group, signal) ? this.#refresh(this.#anchors.tasksOf(group)) : []
  }

  #taskOf(tenant: string, taskId: string): Task {
    const key = keyOf(tenant, taskId)
    let task = this.#tasks.get(key)
    if (task === undefined) {
      task = { tenant, taskId, signals: new Map(), dropped: false, attempts: [], records: new Map() }
      this.#tasks.set(key, task)
    }
    return task
  }

  /** Finds the task's attempts anew, and puts them where they are found by node. @returns tasks whose records may change */
  #place(task: Task): Set<string> {
    const key = keyOf(task.tenant, task.taskId)
    const affected = new Set([key])
    this.#remove(task, affected)
    const attempts = attemptsOf([...task.signals.values()], this.#options)
    task.attempts = attempts.map((attempt) => this.#placed(task, key, attempt))
    for (const { pods, loads } of task.attempts) {
      if (pods !== undefined) {
        const tasks = this.#onNode.get(pods) ?? new Set()
        this.#onNode.set(pods, tasks.add(key))
      }
      if (loads !== undefined) this.#anchors.add(loads.group, loads.anchor)
    }
    for (const { loads } of task.attempts) {
      const after = loads === undefined ? undefined : this.#anchors.after(loads.group, loads.anchor)
      if (after !== undefined) affected.add(after)
    }
    return affected
  }

  #placed(task: Task, key: string, attempt: Attempt): PlacedAttempt {
    const { tenant } = task
    const facts = factsOf(attempt.signals)
    const node = this.#options.nodeOf(tenant, facts)
    const begin = attempt.queuedAt ?? attempt.startedAt ?? 0
    const at = attempt.generationAt ?? attempt.endedAt ?? Number.MAX_SAFE_INTEGER
    return {
      attempt,
      facts,
      pods: node === undefined ? undefined : podGroup(tenant, node),
      loads:
        node === undefined || facts.model === undefined
          ? undefined
          : { group: loadGroup(tenant, node, facts.model), anchor: { at, begin, task: key, attempt: attempt.number } },
    }
  }

  #remove(task: Task, affected: Set<string>): void {
    const key = keyOf(task.tenant, task.taskId)
    for (const { pods, loads } of task.attempts) {
      const tasks = pods === undefined ? undefined : this.#onNode.get(pods)
      tasks?.delete(key)
      if (tasks?.size === 0) this.#onNode.delete(pods!)
      if (loads === undefined) continue
      const after = this.#anchors.after(loads.group, loads.anchor)
      if (after !== undefined) affected.add(after)
      this.#anchors.delete(loads.group, loads.anchor)
    }
    task.attempts = []
  }

  /** Makes the records of these tasks anew, and tells which differ. */
  #refresh(keys: Iterable<string>): TaskChange[] {
    const changes: TaskChange[] = []
    for (const key of new Set(keys)) {
      const task = this.#tasks.get(key)!
      const { tenant, taskId } = task
      const records = new Map<number, string>()
      for (const placed of task.attempts) {
        const attempt = placed.attempt.number
        const { json, record } = this.#recordOf(task, placed)
        records.set(attempt, json)
        const known = task.records.get(attempt)
        if (known === json) continue
        const before = known === undefined ? undefined : (JSON.parse(known) as TaskRecord)
        changes.push({ key: { tenant, taskId, attempt }, record: record ?? (JSON.parse(json) as TaskRecord), before })
      }
      for (const [attempt, known] of task.records)
        if (!records.has(attempt))
          changes.push({
            key: { tenant, taskId, attempt },
            record: undefined,
            before: JSON.parse(known) as TaskRecord,
          })
      task.records = records
    }
    return changes
  }

  /** The record as JSON, and itself where it is made anew: not where only what is nothing to it changed around it. */
  #recordOf(task: Task, placed: PlacedAttempt): { readonly json: string; readonly record?: TaskRecord } {
    const { attempt, facts, pods, loads } = placed
    const { startedAt, endedAt, queuedAt } = attempt
    const from = startedAt ?? queuedAt ?? 0
    const outside = {
      loads: loads === undefined ? [] : this.#stages.loadsOf(loads.group, this.#after(loads), loads.anchor.at),
      pod:
        pods === undefined
          ? undefined
          : this.#stages.podOf(pods, facts.resourceId, from, endedAt ?? Number.POSITIVE_INFINITY),
      signalsDropped: task.dropped,
    }
    const ties = JSON.stringify(outside)
    if (placed.made?.ties === ties) return placed.made
    const record = recordOf(task.tenant, task.taskId, attempt, { ...outside, facts })
    const json = JSON.stringify(record)
    placed.made = { ties, json }
    return { json, record }
  }

  /** Loads after this are its own. */
  #after({ group, anchor }: NonNullable<PlacedAttempt['loads']>): number {
    const floor = this.#floors.get(group) ?? Number.NEGATIVE_INFINITY
    const before = this.#anchors.before(group, anchor)
    // One that came back may have its own again.
    return floor < anchor.at ? Math.max(before, floor) : before
  }

  /** What is tied to a task alone. */
  #stagesOf(task: Task): [group: string, signal: StageSignal][] {
    return task.attempts.flatMap(({ loads }) =>
      loads === undefined
        ? []
        : this.#stages
            .signalsOf(loads.group, this.#after(loads), loads.anchor.at)
            .map((signal): [string, StageSignal] => [loads.group, signal]),
    )
  }

  /** Stages that no task in memory can be tied to any more. */
  #forgetStages(before: number): void {
    this.#stages.forget(before, (group) => this.#anchors.has(group) || this.#onNode.has(group))
    for (const [group, at] of this.#floors) if (at < before && !this.#anchors.has(group)) this.#floors.delete(group)
  }
}
