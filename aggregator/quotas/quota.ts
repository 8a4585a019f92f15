/** Definitions of quotas, and which of them a request has to fit. */
import type { UsageOwner } from '../tasks/usage-out.ts'
import type { ExactSum } from './exact-sum.ts'
import type { QuotaWindow } from './window.ts'

/** Narrowest first. */
export const LEVELS = ['user', 'project', 'department', 'tenant'] as const
export type Level = (typeof LEVELS)[number]

export interface Quota {
  readonly id: string
  /** `*`: of every tenant, beside its own. */
  readonly tenant: string
  readonly level: Level
  /** Null: each subject of the level by itself. */
  readonly subject: string | null
  readonly resource: string
  readonly window: QuotaWindow
  /** In the smallest unit of the resource. */
  readonly limit: ExactSum
  /** Hard refuses, soft lets pass and says so. */
  readonly enforcement: 'hard' | 'soft'
  /** It refuses nothing, and answers say what it would have done. */
  readonly shadow: boolean
  /** Percents of the limit, rising. */
  readonly thresholds: readonly number[]
  /** What is done while nobody can say what was counted. */
  readonly whenUnknown: 'closed' | 'open'
  /** ms; it holds from ≤ now < to. */
  readonly from: number
  readonly to: number
}

/** Who somebody is at a level; '' where nobody says, and then no quota of that level applies. */
export function subjectAt(level: Level, tenant: string, owner: UsageOwner): string {
  switch (level) {
    case 'user':
      return owner.userId
    case 'project':
      return owner.project
    case 'department':
      return owner.department
    case 'tenant':
      return tenant
  }
}

/** Of one level in one tenant. */
interface Scope {
  readonly named: Map<string, Quota[]>
  readonly all: Quota[]
}

const ALL_TENANTS = '*'
const NONE: Scope = { named: new Map(), all: [] }

/** Those that hold for a subject, and until when that stays so, ms. */
export interface Applicable {
  readonly quotas: readonly Quota[]
  readonly until: number
}

/** All definitions of a moment. Immutable: a change makes a new one, which the fold is given. */
export class QuotaIndex {
  readonly #scopes = new Map<string, Scope>()
  readonly #telling = new Set<string>()
  readonly #quotas: readonly Quota[]

  constructor(quotas: readonly Quota[]) {
    this.#quotas = quotas
    for (const quota of quotas) {
      const key = scopeKey(quota.tenant, quota.level)
      const scope = this.#scopes.get(key) ?? { named: new Map<string, Quota[]>(), all: [] }
      this.#scopes.set(key, scope)
      if (quota.thresholds.length > 0) this.#telling.add(key)
      const named = quota.subject === null ? scope.all : (scope.named.get(quota.subject) ?? [])
      named.push(quota)
      if (quota.subject !== null) scope.named.set(quota.subject, named)
    }
  }

  get size(): number {
    return this.#quotas.length
  }

  /** Whether a level of a tenant has any quota that tells of thresholds. */
  tells(tenant: string, level: Level): boolean {
    if (this.#telling.size === 0) return false
    return this.#telling.has(scopeKey(tenant, level)) || this.#telling.has(scopeKey(ALL_TENANTS, level))
  }

  /**
   * Those that hold for a subject now. One that names the subject stands in the place of the one for all of the same level, resource and
   * window, whatever the zone of its days. Those of every tenant hold beside a tenant's own, which so cannot loosen them.
   */
  of(tenant: string, level: Level, subject: string, now: number): Applicable {
    const chosen: Quota[] = []
    let until = Number.POSITIVE_INFINITY
    for (const whose of [tenant, ALL_TENANTS]) {
      const { named, all } = this.#scopes.get(scopeKey(whose, level)) ?? NONE
      const taken = new Set<string>()
      for (const quota of [...(named.get(subject) ?? []), ...all]) {
        if (now < quota.from) until = Math.min(until, quota.from)
        if (now < quota.from || now >= quota.to) continue
        until = Math.min(until, quota.to)
        const place = placeOf(quota)
        if (!taken.has(place)) chosen.push(quota)
        taken.add(place)
      }
    }
    return { quotas: chosen, until }
  }
}

/** Two of one place do not hold at once. */
function placeOf({ resource, window }: Quota): string {
  return `${resource} ${window.kind}${window.kind === 'rolling' ? window.seconds : ''}`
}

const scopeKey = (tenant: string, level: Level): string => `${level} ${tenant}`
