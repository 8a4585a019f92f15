/**
 * What quotas must say, the simple way: the whole log is read again for each question, and what is counted is added up from what holds
 * at the end of it, never from differences.
 */

import type { AppliedRecord } from '../../aggregator/owner/fold.ts'
import type { Level } from '../../aggregator/quotas/quota.ts'
import type {
  AdjustBody,
  CommitBody,
  ExpireBody,
  ExtendBody,
  ReserveBody,
} from '../../aggregator/quotas/quota-record.ts'
import type { Period } from '../../aggregator/quotas/window.ts'
import { slotOf } from '../../aggregator/tasks/shares.ts'
import type { CalculatedDecision } from '../../aggregator/tasks/task-decision.ts'
import type { UsageOwner } from '../../aggregator/tasks/usage-out.ts'
import type { ReceivedEvent } from '../../proto/events/event.ts'

interface Part {
  readonly resource: string
  readonly slot: number
  readonly amount: bigint
  readonly owner: UsageOwner
}

export interface ModelHold {
  readonly n: number
  readonly body: ReserveBody
  expires: number
  state: 'open' | 'committed' | 'released' | 'expired'
  closedAt: number
  /** Nobody knows it by its id any more. */
  forgotten: boolean
  committedAt: number
  readonly charged: Map<string, number>
  credits: number | undefined
}

/** Of one tenant. */
export class QuotaModel {
  readonly holds: ModelHold[] = []
  readonly #calculated = new Map<string, { version: number; parts: Part[] }>()
  readonly #told: Part[] = []
  readonly #adjusted = new Map<string, number>()
  readonly #keptMs: number
  #now = 0

  constructor(log: readonly AppliedRecord[], keptMs: number) {
    this.#keptMs = keptMs
    for (const record of log) this.#read(record)
  }

  counted(level: Level, subject: string, resource: string, { from, to }: Period): bigint {
    let sum = 0n
    for (const part of this.#parts())
      if (part.resource === resource && part.slot >= from && part.slot < to && isOf(part.owner, level, subject))
        sum += part.amount
    return sum
  }

  held(level: Level, subject: string, resource: string): bigint {
    let sum = 0
    for (const hold of this.holds) {
      if (hold.state !== 'open' || !isOf(hold.body.owner, level, subject)) continue
      for (const amount of hold.body.amounts)
        if (amount.resource === resource)
          sum += Math.min(amount.amount, Math.max(0, amount.amount - (this.#measured(hold, resource) ?? 0)))
    }
    return BigInt(sum)
  }

  *#parts(): Generator<Part> {
    for (const { parts } of this.#calculated.values()) yield* parts
    yield* this.#told
    for (const { body, charged, committedAt } of this.holds)
      for (const [resource, amount] of charged)
        yield { resource, amount: BigInt(amount), slot: slotOf(committedAt), owner: body.owner }
  }

  #read(record: AppliedRecord): void {
    this.#now = Math.max(this.#now, record.at / 1000)
    const { value } = record
    switch (record.kind) {
      case 'calculation':
        this.#calculate(value as CalculatedDecision)
        break
      case 'event':
        this.#event(value as ReceivedEvent)
        break
      case 'quota.reserve':
        this.#reserve(record.n, value as ReserveBody)
        break
      case 'quota.adjust':
        this.#adjust(value as AdjustBody)
        break
      case 'quota.commit':
        this.#commit(value as CommitBody)
        break
      default:
        this.#otherwise(record)
        break
    }
  }

  #otherwise({ kind, value }: AppliedRecord): void {
    const hold = this.#known((value as { id: string }).id)
    if (hold?.state !== 'open') return
    if (kind === 'quota.extend') hold.expires = (value as ExtendBody).expires
    else if (kind === 'quota.release') this.#close(hold, 'released')
    else if (kind === 'quota.expire' && (value as ExpireBody).expires >= hold.expires) this.#close(hold, 'expired')
  }

  #reserve(n: number, body: ReserveBody): void {
    this.#forget()
    if (this.#known(body.id) !== undefined) return
    this.holds.push({
      n,
      body,
      expires: body.expires,
      state: 'open',
      closedAt: 0,
      forgotten: false,
      committedAt: 0,
      charged: new Map(),
      credits: undefined,
    })
  }

  #commit(body: CommitBody): void {
    const hold = this.#known(body.id)
    if (hold === undefined || (hold.state !== 'open' && hold.state !== 'expired')) return
    this.#close(hold, 'committed')
    hold.committedAt = body.at
    for (const { resource, amount } of body.amounts)
      if (amount > 0 && resource !== 'concurrent_tasks' && this.#measured(hold, resource) === undefined)
        hold.charged.set(resource, amount)
  }

  #calculate({ key, version, calculation, assessment }: CalculatedDecision): void {
    const name = `${key.taskId}/${key.attempt}`
    if (version <= (this.#calculated.get(name)?.version ?? 0)) return
    const { userId, project, department } = assessment!.who
    const owner = { userId: userId ?? '', project: project ?? '', department: department ?? '' }
    const parts = calculation!.amounts.map(({ resource, slot, amount }) => ({
      resource: resource as string,
      slot,
      amount: BigInt(amount),
      owner,
    }))
    this.#calculated.set(name, { version, parts })
    for (const hold of this.holds) {
      const { task } = hold.body
      if (task?.taskId !== key.taskId || task.attempt !== key.attempt) continue
      for (const { resource } of parts) hold.charged.delete(resource)
    }
  }

  #event(received: ReceivedEvent): void {
    const { event } = received
    const size = BigInt((event['object_size'] as number | undefined) ?? 0)
    const owner = { userId: event.user_id ?? '', project: '', department: '' }
    const slot = slotOf(Date.parse(event.timestamp))
    const told = (resource: string, amount: bigint): void => void this.#told.push({ resource, slot, amount, owner })
    switch (event.event_type) {
      case 'assets.access.upload':
        told('transfer_bytes', size)
        told('storage_bytes', size)
        break
      case 'assets.access.download':
        told('transfer_bytes', size)
        break
      case 'assets.access.delete':
        told('storage_bytes', -size)
        break
      default:
        this.#credit(received)
    }
  }

  #credit({ event }: ReceivedEvent): void {
    const amount = Math.round((event['amount'] as number) * 1e6)
    const owner = { userId: event.user_id ?? '', project: '', department: '' }
    const part = { resource: 'credits', slot: slotOf(Date.parse(event.timestamp)), amount: BigInt(amount), owner }
    this.#told.push(part)
    const tied = this.holds
      .filter(({ body, state, forgotten, charged }) => {
        const known = state !== 'released' && (!forgotten || charged.size > 0)
        return known && body.task?.taskId === event['task_id']
      })
      .sort((a, b) => b.n - a.n)
    const hold =
      tied.find(({ state }) => state === 'open') ?? tied.find(({ charged }) => charged.has('credits')) ?? tied[0]
    if (hold === undefined) return
    hold.credits = (hold.credits ?? 0) + amount
    hold.charged.delete('credits')
  }

  #adjust({ id, resource, slot, amount, owner }: AdjustBody): void {
    this.#forget()
    const known = this.#adjusted.get(id)
    if (known !== undefined && known + this.#keptMs >= this.#now) return
    this.#adjusted.set(id, this.#now)
    this.#told.push({ resource, slot, amount: BigInt(amount), owner })
  }

  #close(hold: ModelHold, state: ModelHold['state']): void {
    hold.state = state
    hold.closedAt = this.#now
  }

  #forget(): void {
    for (const hold of this.holds)
      if (hold.state !== 'open' && hold.closedAt + this.#keptMs < this.#now) hold.forgotten = true
  }

  #known(id: string): ModelHold | undefined {
    return this.holds.find(({ body, forgotten }) => body.id === id && !forgotten)
  }

  /** Undefined: nobody has said anything of it. */
  #measured({ body: { task }, credits }: ModelHold, resource: string): number | undefined {
    if (resource === 'credits' && credits !== undefined) return credits
    const parts = this.#calculated
      .get(`${task?.taskId}/${task?.attempt}`)
      ?.parts.filter((part) => part.resource === resource)
    return parts === undefined || parts.length === 0
      ? undefined
      : Number(parts.reduce((sum, { amount }) => sum + amount, 0n))
  }
}

export const TENANT = 't'

function isOf(owner: UsageOwner, level: Level, subject: string): boolean {
  return { user: owner.userId, project: owner.project, department: owner.department, tenant: TENANT }[level] === subject
}
