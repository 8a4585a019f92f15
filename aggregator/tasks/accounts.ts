/** What was calculated last of each attempt in memory, found by task and by node. */
import { Crowds } from './crowd.ts'
import { podGroup } from './node-stages.ts'
import type { Span } from './step-function.ts'
import type { TaskKey } from './task-record.ts'
import { keyOf } from './task-state.ts'
import type { Counted } from './usage-out.ts'

export interface Account {
  readonly key: TaskKey
  /** Position of the calculation. */
  readonly n: number
  /** The newest position that the calculation knew of. */
  readonly upTo: number
  readonly counted: Counted
  readonly final: boolean
  /** Version of the directories that it was made by. */
  readonly directory?: number
  /** Where and when it was taken to be. */
  readonly node?: string
  readonly from?: number
  readonly to?: number
  /** Nobody had told its end: whoever was there after `to` was taken to share the node with it, too. */
  readonly open?: true
  /** It has no figures, since more than can be told apart were there at once. */
  readonly crowded?: true
}

/** An attempt on a node; {@link FOR_EVER} where nobody told its end. Plain JSON. */
export interface Place extends Span {
  readonly node: string
}

/** JSON has no infinity. */
export const FOR_EVER: number = Number.MAX_SAFE_INTEGER

/** Where an attempt was when it was calculated. */
export function placeOf({ node, from, to, open }: Account): Place | undefined {
  return node === undefined ? undefined : { node, from: from!, to: open ? FOR_EVER : to! }
}

/** One place for each node: from the first until the last that it was there. */
export function together(places: readonly (Place | undefined)[]): Place[] {
  const byNode = new Map<string, Place>()
  for (const place of places) {
    if (place === undefined) continue
    const { node, from, to } = byNode.get(place.node) ?? place
    byNode.set(node, { node, from: Math.min(from, place.from), to: Math.max(to, place.to) })
  }
  return [...byNode.values()]
}

/** Its figures are made again, whatever happens. */
export const isProvisional = ({ final, from }: Account): boolean => !final && from !== undefined

export const nameOf = ({ tenant, taskId, attempt }: TaskKey): string => JSON.stringify([tenant, taskId, attempt])

export class Accounts {
  /** By task, then by attempt. */
  readonly #byTask = new Map<string, Map<number, Account>>()
  /** Those with figures, by node. */
  readonly #withFigures = new Map<string, Map<string, Account>>()
  readonly #crowds = new Crowds()

  get({ tenant, taskId, attempt }: TaskKey): Account | undefined {
    return this.#byTask.get(keyOf(tenant, taskId))?.get(attempt)
  }

  of(tenant: string, taskId: string): Account[] {
    return [...(this.#byTask.get(keyOf(tenant, taskId))?.values() ?? [])]
  }

  *all(): Generator<Account> {
    for (const accounts of this.#byTask.values()) yield* accounts.values()
  }

  /** Attempts that have figures of a window on the node that meets a span. */
  *withFigures(tenant: string, node: string, { from, to }: Span): Generator<TaskKey> {
    for (const account of this.#withFigures.get(podGroup(tenant, node))?.values() ?? []) {
      const place = placeOf(account)!
      if (place.from < to && place.to > from) yield account.key
    }
  }

  /** @param account the newest of its attempt */
  keep(account: Account): void {
    const { key, node } = account
    const task = keyOf(key.tenant, key.taskId)
    const accounts = this.#byTask.get(task) ?? new Map<number, Account>()
    const before = accounts.get(key.attempt)
    if (before !== undefined) this.#unplace(before)
    this.#byTask.set(task, accounts.set(key.attempt, account))
    if (node === undefined) return
    const group = podGroup(key.tenant, node)
    if (account.crowded) this.#crowds.add(group, nameOf(key), key)
    else {
      const there = this.#withFigures.get(group) ?? new Map<string, Account>()
      this.#withFigures.set(group, there.set(nameOf(key), account))
    }
  }

  forget(tenant: string, taskId: string): void {
    for (const account of this.of(tenant, taskId)) this.#unplace(account)
    this.#byTask.delete(keyOf(tenant, taskId))
  }

  /** Something on the node changed. */
  moved(tenant: string, node: string): void {
    this.#crowds.moved(podGroup(tenant, node))
  }

  /** Whether it may have figures now that it had none of in a crowd. */
  isUnsettled({ key, node, crowded }: Account): boolean {
    return crowded === true && node !== undefined && this.#crowds.isMoved(podGroup(key.tenant, node))
  }

  allMoved(): void {
    this.#crowds.allMoved()
  }

  /** Attempts that had no figures in a crowd, where something changed on their node since. Each is given once. */
  takeCrowded(max: number): TaskKey[] {
    return this.#crowds.take(max)
  }

  #unplace({ key, node, crowded }: Account): void {
    if (node === undefined) return
    const group = podGroup(key.tenant, node)
    if (crowded) this.#crowds.delete(group, nameOf(key))
    const there = this.#withFigures.get(group)
    if (there?.delete(nameOf(key)) === true && there.size === 0) this.#withFigures.delete(group)
  }
}
