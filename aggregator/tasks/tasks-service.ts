/**
 * Does for tasks what takes time, and logs what came of it: reads a window's samples, asks the archive, notices that a task is lost,
 * that its figures are final, that it may leave memory. All state is the ledger's; what is under way here is begun again after a
 * restart, and a calculation that was logged twice changes nothing the second time but its version.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { RateLimitedLog } from '../../proto/runtime/log.ts'
import { orAborted } from '../../proto/runtime/or-aborted.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { LateSamples } from '../intake/late-samples.ts'
import { LateNotes } from '../intake/late-samples.ts'
import type { Account } from './accounts.ts'
import type { SweptArchive } from './archive-sweep.ts'
import { ArchiveSweep } from './archive-sweep.ts'
import { nodeNamesOf, timeOfRecord, whoOf, withGpuModel } from './attribution.ts'
import { calculate, readSpanOf, windowOf } from './calculation.ts'
import { DirectoryChanges } from './directory-changes.ts'
import type { TaskLedger } from './ledger.ts'
import type { MetricMapping } from './metric-mapping.ts'
import type { NodeNames } from './nodes.ts'
import { sharedNames } from './nodes.ts'
import type { Selector, SeriesSource } from './series-source.ts'
import { SeriesRefused, SeriesUnavailable } from './series-source.ts'
import type { Span } from './step-function.ts'
import type { CalculatedDecision, LedgerMemory, TaskDecision } from './task-decision.ts'
import { errorOf, evidenceSelectors } from './task-evidence.ts'
import { taskPrices } from './task-prices.ts'
import type { TaskKey, TaskRecord } from './task-record.ts'
import type { OperatorOf } from './tenant-samples.ts'
import { TenantSamples } from './tenant-samples.ts'
import { selectorsOf } from './window.ts'

/** Where tasks are that have left memory. */
export interface TaskArchive {
  /** @returns undefined where it is not; @throws when that cannot be known now */
  load(tenant: string, taskId: string): Promise<LedgerMemory | undefined>
  /** Tasks with an attempt on the node at some time in [from, to). @param node as the ledger names it */
  onNode(tenant: string, node: string, from: number, to: number): Promise<readonly LedgerMemory[]>
  /** Whether the row of a log position is there. */
  isStored(n: number): boolean
}

export interface TasksServiceOptions {
  readonly source: SeriesSource
  readonly operatorOf: OperatorOf
  /** The tenant of the operator's samples. */
  readonly operator: string
  readonly directory: () => DirectorySnapshot
  /** Whether rows may be made: ClickHouse keeps up with them. */
  readonly hasRoom: () => boolean
  readonly archive: TaskArchive & SweptArchive
  /** Samples of windows that began earlier are about to be gone, ms. */
  readonly samplesFrom: () => number
  /** Logs a decision; it has been applied to the ledger when it resolves. */
  readonly append: (tenant: string, decision: TaskDecision) => Promise<void>
  /** Everything that was sampled on the node before this has come in, ms. */
  readonly completeUntil: (tenant: string, names: readonly string[]) => number
  /** Time of the newest sample of the node, ms; undefined: there is none. */
  readonly lastSample: (tenant: string, names: readonly string[]) => number | undefined
  readonly mapping: MetricMapping
  /** The usual time between two samples of a node, ms. */
  readonly intervalMs: number
  /** An attempt without an end is lost after this, if its node is silent, ms. */
  readonly taskMaxMs: number
  /** A node without a sample for this long is silent, ms. */
  readonly silentMs: number
  /** Windows that are read at once. */
  readonly parallel: number
  /** Figures of what still runs are made anew so often, ms. */
  readonly refreshMs: number
  /** How often is looked for what only time brings, ms. */
  readonly lookMs: number
  readonly clock: Clock
  readonly log: Logger
}

/** A window that could not be read is tried again so long after, doubling up to the second, ms. */
const PAUSE_MS = 1000
const PAUSE_MAX_MS = 60_000
/** To see who leaves memory, all tasks in it are looked at. */
const LEAVE_MS = 30_000
/** The same while tasks come back from the archive. */
const LEAVE_AGAIN_MS = 2000
const LOST_KNOWN_MAX = 10_000
/** Of attempts that were in a crowd, in one look. */
const CROWD_CHECKS_MAX = 1000
/** Attempts that are calculated in one round. */
const ROUND_MAX = 256
const TOGETHER_MS = 50

export class TasksService implements Service {
  readonly name = 'tasks'
  readonly #ledger: TaskLedger
  readonly #options: TasksServiceOptions
  readonly #often: RateLimitedLog
  readonly #samples: TenantSamples
  readonly sweep: ArchiveSweep
  #counts = { calculations: 0, failures: 0 }
  readonly #late = new LateNotes()
  /** Attempts that cannot be calculated for a while: until when, and the pause. */
  readonly #paused = new Map<string, { until: number; pauseMs: number }>()
  /** Up to which figures were looked at. */
  #directoryVersion: number | undefined
  /** Decisions of this process. */
  readonly #lost = new Set<string>()
  #leaveAt = 0
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #again = false
  #lookDue = false
  #started = false
  #stopped = false
  #problem: string | undefined

  constructor(ledger: TaskLedger, options: TasksServiceOptions) {
    this.#ledger = ledger
    this.#options = options
    this.#often = new RateLimitedLog(10_000, () => options.clock.monotonic())
    this.#samples = new TenantSamples(options.source, options.operatorOf, options.mapping)
    this.sweep = new ArchiveSweep(ledger, options)
  }

  get counts(): Readonly<{ calculations: number; failures: number }> {
    return this.#counts
  }

  async start(): Promise<void> {
    this.#started = true
    this.#timer = setInterval(() => this.#look(), this.#options.lookMs)
    this.#look()
  }

  /** What is under way is begun again at the next start. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#stopped = true
    clearInterval(this.#timer)
    await orAborted(this.#running ?? Promise.resolve(), deadline)
  }

  health(): Health {
    if (this.#problem !== undefined) return { ready: true, detail: this.#problem }
    const { left } = this.sweep
    if (left === 0) return { ready: true }
    return { ready: true, detail: `directories changed: ${left} rows of tasks are still to be looked at` }
  }

  /** Something was applied to the ledger: there may be something to do. */
  wake(): void {
    this.#again = true
    if (!this.#started || this.#stopped) return
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
      if (this.#again && !this.#stopped) this.wake()
    })
  }

  /** Samples of a node came late: looked at in the next round, so that a calculation under way is not overtaken. */
  noteLate(samples: LateSamples): void {
    this.#late.note(samples)
  }

  /**
   * Samples of a node came that are older than what had come before.
   * @param oldest of them, ms
   */
  async lateSamples(tenant: string, node: NodeNames, oldest: number): Promise<void> {
    const { archive, append, intervalMs } = this.#options
    const name = this.#ledger.nodeOf({ tenant, facts: node })
    if (name === undefined) return
    const from = oldest - 2 * intervalMs
    if (this.#ledger.mayBeArchived(tenant, name, from))
      for (const memory of await archive.onNode(tenant, name, from, Number.POSITIVE_INFINITY))
        if (!this.#ledger.tasks.has(tenant, memory.taskId))
          await append(tenant, { what: 'returned', taskId: memory.taskId, memory })
    for (const record of this.#ledger.tasks.onNode(tenant, name, from, Number.POSITIVE_INFINITY))
      if (this.#ledger.account(record)?.final === true) await append(tenant, { what: 'late', key: keyOf(record) })
  }

  /**
   * Does all that is to be done now, once.
   * @param look also for what only time brings, which goes through all tasks in memory
   */
  async round(look = true): Promise<void> {
    for (const { tenant, taskId } of this.#ledger.waiting)
      await this.#tried(`${tenant} ${taskId}`, () => this.#ask(tenant, taskId))
    if (look) {
      await this.#tellLate()
      await this.#tried('directory', () => this.#followDirectory())
      await this.#tried('archive', () => this.#sweepArchive())
      await this.#loseSilent()
      await this.#tried('crowds', () => this.#dissolveCrowds())
    }
    const dirty = this.#ledger.dirty
    const known = new Set(dirty.map((key) => JSON.stringify(key)))
    const unfinished = look ? this.#unfinished().filter((key) => !known.has(JSON.stringify(key))) : []
    // What is left over is dirty, or found unfinished again: who has changed since comes before it.
    const due = [...dirty, ...unfinished].slice(0, ROUND_MAX)
    if (dirty.length > ROUND_MAX) this.#again = true
    // What waits here is dirty in the ledger: it is found again when there is room.
    const { hasRoom, parallel } = this.#options
    const workers = Array.from({ length: parallel }, async () => {
      for (let key = due.shift(); key !== undefined && !this.#stopped && hasRoom(); key = due.shift()) {
        const { tenant, taskId, attempt } = key
        await this.#tried(`${tenant} ${taskId} ${attempt}`, () => this.#calculate(key))
        this.#counts.calculations++
      }
    })
    await Promise.all(workers)
    if (look) await this.#leave()
  }

  async #leave(): Promise<void> {
    const now = this.#options.clock.now()
    if (now < this.#leaveAt) return
    this.#leaveAt = now + LEAVE_MS
    for (const { tenant, taskId, upTo } of this.#ledger.leaving(now, (n) => this.#options.archive.isStored(n)))
      await this.#tried(`${tenant} ${taskId}`, () => this.#options.append(tenant, { what: 'left', taskId, upTo }))
  }

  #look(): void {
    this.#lookDue = true
    this.wake()
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#stopped) {
      // What comes together is calculated once, and not in the turn in which the log is applied.
      await sleep(TOGETHER_MS)
      const look = this.#lookDue
      this.#again = false
      this.#lookDue = false
      await this.round(look)
    }
  }

  async #ask(tenant: string, taskId: string): Promise<void> {
    const memory = await this.#options.archive.load(tenant, taskId)
    await this.#options.append(tenant, { what: 'returned', taskId, ...(memory === undefined ? {} : { memory }) })
  }

  /** What cannot be told now, since the archive is away, waits. */
  async #tellLate(): Promise<void> {
    const late = this.#late.take()
    if (late.length === 0) return
    const known = this.#ledger.tasks.nodesByName()
    for (const samples of late) {
      const { tenant, node, oldest } = samples
      let told = false
      await this.#tried(`late ${JSON.stringify([tenant, node])}`, async () => {
        await this.#tellLateOf(known, tenant, node, oldest)
        told = true
      })
      if (!told) this.#late.note(samples)
    }
  }

  /** The operator's samples may be of machines that serve others. Who has left memory may have called it by the name itself. */
  async #tellLateOf(
    known: ReturnType<TaskLedger['tasks']['nodesByName']>,
    tenant: string,
    node: string,
    oldest: number,
  ): Promise<void> {
    for (const name of sharedNames(this.#options.directory(), tenant, node, oldest))
      for (const { tenant: of, node: its } of [{ tenant, node: name }, ...(known.get(name) ?? [])])
        if (of === tenant || tenant === this.#options.operator) await this.lateSamples(of, { nodeId: its }, oldest)
  }

  /** Directories changed: figures are made anew of which somebody else, another machine or another price may be said now. */
  async #followDirectory(): Promise<void> {
    const directory = this.#options.directory()
    if (directory.version === this.#directoryVersion) return
    const byTenant = new Map<string, TaskKey[]>()
    const changes = new DirectoryChanges(directory)
    for (const account of this.#ledger.accounts()) {
      if (!changes.touch(account, () => this.#ledger.tasks.record(account.key))) continue
      const { tenant } = account.key
      byTenant.set(tenant, [...(byTenant.get(tenant) ?? []), account.key])
    }
    for (const [tenant, keys] of byTenant)
      await this.#options.append(tenant, { what: 'directory', version: directory.version, keys })
    this.#directoryVersion = directory.version
  }

  /** The same for those that have left memory, once those in it were looked at. */
  async #sweepArchive(): Promise<void> {
    const { directory, hasRoom, clock } = this.#options
    if (this.#directoryVersion !== directory().version || !hasRoom() || !(await this.sweep.step())) return
    this.#leaveAt = Math.min(this.#leaveAt, clock.now() + LEAVE_AGAIN_MS)
    this.#again = true
    this.#lookDue = true
  }

  async #loseSilent(): Promise<void> {
    const { clock, taskMaxMs, silentMs, lastSample, append } = this.#options
    const now = clock.now()
    for (const record of this.#ledger.tasks.openRecords(now - taskMaxMs)) {
      const { tenant, taskId, attempt } = record
      const begun = (record.startedAt ?? record.queuedAt)!
      const last = lastSample(tenant, this.#namesOf(record))
      if (last !== undefined && last > now - silentMs) continue
      const time = Math.max(begun, last ?? begun)
      const lost = { id: `lost ${taskId} ${attempt} ${time}`, tenant, taskId, time }
      // What is known already and did not close it is not logged each second again.
      if (this.#lost.has(lost.id)) continue
      if (this.#lost.size >= LOST_KNOWN_MAX) this.#lost.clear()
      await this.#tried(`${tenant} ${taskId} ${attempt}`, async () => {
        await append(tenant, { what: 'lost', lost })
        this.#lost.add(lost.id)
      })
    }
  }

  /** Who had no figures in a crowd that is none any more has some now. */
  async #dissolveCrowds(): Promise<void> {
    const { clock, directory, append } = this.#options
    const now = clock.now()
    const byTenant = new Map<string, TaskKey[]>()
    for (const key of this.#ledger.takeCrowded(CROWD_CHECKS_MAX)) {
      const record = this.#ledger.tasks.record(key)
      if (record === undefined || this.#isCrowded(record, now)) continue
      byTenant.set(key.tenant, [...(byTenant.get(key.tenant) ?? []), key])
    }
    const { version } = directory()
    for (const [tenant, keys] of byTenant) await append(tenant, { what: 'directory', version, keys })
  }

  /** Provisional figures of which everything is here now, and those of what still runs. */
  #unfinished(): TaskKey[] {
    const now = this.#options.clock.now()
    const old = now - this.#options.refreshMs
    const keys: TaskKey[] = []
    for (const account of this.#ledger.provisional()) {
      const times = this.#ledger.tasks.timesOf(account.key)
      if (times === undefined) continue
      const open = times.startedAt !== undefined && times.endedAt === undefined
      const isDue = open
        ? (account.to ?? 0) <= old && account.crowded !== true
        : times.endedAt !== undefined && this.#isFinal(this.#ledger.tasks.record(account.key)!)
      if (isDue) keys.push(account.key)
    }
    return keys
  }

  #isFinal(record: TaskRecord): boolean {
    const { endedAt } = record
    if (endedAt === undefined) return false
    const { completeUntil, intervalMs } = this.#options
    return completeUntil(record.tenant, this.#namesOf(record)) >= endedAt + 2 * intervalMs
  }

  async #calculate(key: TaskKey): Promise<void> {
    const { append, clock, directory } = this.#options
    const now = clock.now()
    const decision = await this.#decisionOf(key, now)
    await append(key.tenant, decision)
    const { record, crowded } = decision
    // It may have become a crowd, or none, while samples were read.
    if (record !== undefined && this.#isCrowded(record, now) !== (crowded !== undefined))
      await append(key.tenant, { what: 'directory', version: directory().version, keys: [key] })
  }

  async #decisionOf(key: TaskKey, now: number): Promise<CalculatedDecision> {
    const { mapping, intervalMs } = this.#options
    const version = (this.#ledger.account(key)?.counted.version ?? 0) + 1
    const upTo = this.#ledger.appliedUpTo
    const record = this.#ledger.tasks.record(key)
    await this.#fetchNeighbours(key, record, now)
    await this.#tellUnaware(key)
    if (record === undefined) return { what: 'calculated', key, version, upTo, final: true }
    const final = this.#isFinal(record)
    const directory = this.#options.directory()
    const nodeNames = this.#namesOf(record)
    const node = this.#ledger.nodeOf(record)
    const who = whoOf(directory, record, timeOfRecord(record, now), node, nodeNames)
    const decision: CalculatedDecision = { what: 'calculated', key, version, upTo, final, record }
    const crowded = this.#isCrowded(record, now)
    if (record.startedAt === undefined || crowded) {
      const cost = crowded
        ? ({
            micros: null,
            reason: 'quantity_unknown',
            detail: 'more tasks were on its node at once than can be told apart',
          } as const)
        : ({ micros: null, reason: 'not_begun', detail: 'it has not begun' } as const)
      const error = errorOf(record, null, [])
      const assessment = { error, cost, who: { ...who, samplesOf: 'none' as const }, directory: directory.version }
      return { ...decision, ...(crowded ? { crowded: windowOf(record, now) } : {}), assessment }
    }
    const window = windowOf(record, now)
    const neighbours = this.#sharedNames(record).flatMap((name) =>
      this.#ledger.tasks.onNode(key.tenant, name, window.from, window.to),
    )
    const { series, of } = await this.#read(record, window, selectorsOf(mapping, nodeNames))
    const machine = withGpuModel(who, series)
    const prices = taskPrices(directory, key.tenant, machine.node)
    const input = { record, neighbours, nodeNames, series, mapping, intervalMs, now, prices }
    const { cost, ...calculation } = calculate(input)
    const failed = record.state !== 'completed' && record.endedAt !== undefined
    const seen = failed ? await this.#read(record, window, evidenceSelectors(mapping, nodeNames)) : undefined
    const error = errorOf(record, calculation, seen?.series ?? [])
    const assessment = { error, cost, who: { ...machine, samplesOf: of }, directory: directory.version }
    return { ...decision, calculation, assessment }
  }

  #isCrowded(record: TaskRecord, now: number): boolean {
    if (record.startedAt === undefined) return false
    const { from, to } = windowOf(record, now)
    return this.#ledger.isCrowded(record.tenant, this.#sharedNames(record), from, to)
  }

  #sharedNames(record: TaskRecord): readonly string[] {
    const { clock, directory } = this.#options
    const node = this.#ledger.nodeOf(record)
    return node === undefined ? [] : sharedNames(directory(), record.tenant, node, timeOfRecord(record, clock.now()))
  }

  /** One that changed is told to who shares its node, as it was and as it is, and has not heard of it where the ledger knows neighbours. */
  async #tellUnaware(key: TaskKey): Promise<void> {
    if (!this.#ledger.isChanged(key)) return
    const { directory, append } = this.#options
    const keys = this.#placesOf(key).flatMap(({ names, from, to }) => this.#ledger.unaware(key, names, from, to))
    const { version } = directory()
    if (keys.length > 0) await append(key.tenant, { what: 'directory', version, keys, around: true })
  }

  /** Where it is, and was taken to be, each by all names of the node. */
  #placesOf(key: TaskKey): (Span & { readonly names: readonly string[] })[] {
    return this.#ledger.placesOf(key).map(({ node, from, to }) => ({
      from,
      to,
      names: sharedNames(this.#options.directory(), key.tenant, node, from),
    }))
  }

  #read(record: TaskRecord, window: Span, selectors: readonly Selector[]): ReturnType<TenantSamples['read']> {
    const asked = {
      tenant: record.tenant,
      names: this.#namesOf(record),
      ...readSpanOf(window, this.#options.intervalMs),
    }
    return this.#samples.read(asked, selectors).catch((error: unknown) => {
      // It would be refused for ever: figures without samples say so.
      if (!(error instanceof SeriesRefused)) throw error
      this.#said(`${record.taskId}: ${error.message}`)
      return { series: [], of: 'none' }
    })
  }

  /**
   * Who was there meanwhile, or while it was thought to be there, and has left memory: only with them is it known whether it was a
   * crowd. One without figures has no need of them; if it changed they hear of it, but for those that have none whatever it does.
   */
  async #fetchNeighbours(key: TaskKey, record: TaskRecord | undefined, now: number): Promise<void> {
    const { archive, append } = this.#options
    const { tenant } = key
    const needed = record?.startedAt !== undefined && !this.#isCrowded(record, now)
    if (!needed && !this.#ledger.isChanged(key)) return
    for (const { names, from, to } of this.#placesOf(key)) {
      const stays = ({ crowded, from, to }: Account): boolean =>
        crowded === true && this.#ledger.isCrowded(tenant, names, from!, to!)
      for (const name of names) {
        if (!this.#ledger.mayBeArchived(tenant, name, from)) continue
        for (const memory of await archive.onNode(tenant, name, from, to))
          if (!this.#ledger.tasks.has(tenant, memory.taskId) && (needed || !memory.accounts.every(stays)))
            await append(tenant, { what: 'returned', taskId: memory.taskId, memory, neighbourOf: key })
      }
    }
  }

  #namesOf(record: TaskRecord): readonly string[] {
    const { clock, directory } = this.#options
    return nodeNamesOf(directory(), record, timeOfRecord(record, clock.now()))
  }

  /** What fails is tried again later, and holds up nothing else. */
  async #tried(name: string, action: () => Promise<void>): Promise<void> {
    const now = this.#options.clock.monotonic()
    const paused = this.#paused.get(name)
    if (paused !== undefined && paused.until > now) return
    try {
      await action()
      this.#paused.delete(name)
      if (this.#paused.size === 0) this.#problem = undefined
    } catch (error) {
      this.#counts.failures++
      const pauseMs = Math.min(PAUSE_MAX_MS, (paused?.pauseMs ?? PAUSE_MS / 2) * 2)
      this.#paused.set(name, { until: now + pauseMs, pauseMs })
      this.#problem = `figures of tasks wait: ${messageOf(error)}`
      if (!(error instanceof SeriesUnavailable)) this.#said(messageOf(error))
    }
  }

  #said(error: string): void {
    this.#often.once(this.name, (held) =>
      this.#options.log.warn({ error, held }, 'figures of a task could not be made'),
    )
  }
}

const keyOf = ({ tenant, taskId, attempt }: TaskRecord): TaskKey => ({ tenant, taskId, attempt })
