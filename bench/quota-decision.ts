/**
 * `npm run bench -- quota-decision`: what a decision costs in memory: may somebody use so much, by the quotas of the user, the project,
 * the department and the tenant, all at once. Beside rate-limiter-flexible in memory, which is asked for one key, and for four.
 */
import { RateLimiterMemory } from 'rate-limiter-flexible'
import type { Demand } from '../aggregator/quotas/decision.ts'
import { ExactSum } from '../aggregator/quotas/exact-sum.ts'
import type { Level, Quota } from '../aggregator/quotas/quota.ts'
import { LEVELS, QuotaIndex, subjectAt } from '../aggregator/quotas/quota.ts'
import { QuotasFold } from '../aggregator/quotas/quotas-fold.ts'

const USERS = 10_000
const PROJECTS = 200
const DEPARTMENTS = 20
const TENANT = '11111111-1111-4111-8111-111111111111'
const RESOURCES = ['gpu_seconds', 'tokens'] as const
const DECISIONS = 500_000
const RESERVATIONS = 50_000
const NOW = Date.parse('2026-01-31T12:00:00.000Z')
const DAY_SECONDS = 86_400
/** Nobody comes to it. */
const LIMIT = 2 ** 40

export async function quotaDecision(turns: number): Promise<void> {
  const asked = demands(1)
  const askedTwo = demands(2)
  const fold = warmFold()
  const limiter = new RateLimiterMemory({ points: LIMIT, duration: DAY_SECONDS })
  const keys = asked.map(({ owner }) => LEVELS.map((level) => `${level} ${subjectAt(level, TENANT, owner)}`))
  const kinds: readonly (readonly [name: string, run: () => void | Promise<void>, count?: number])[] = [
    ['decision, four levels, one resource', () => decisions(fold, asked)],
    ['decision, four levels, two resources', () => decisions(fold, askedTwo)],
    ['reserved, applied, committed, applied', () => reservations(fold, asked), RESERVATIONS],
    ['rate-limiter-flexible, one key', () => consumed(limiter, keys, 1)],
    ['rate-limiter-flexible, four keys', () => consumed(limiter, keys, LEVELS.length)],
  ]
  console.log(
    `\nµs of CPU, ${USERS.toLocaleString('en')} users, ${DECISIONS.toLocaleString('en')} a turn, of reservations ${RESERVATIONS.toLocaleString('en')}\n`,
  )
  console.log(`| | ${Array.from({ length: turns }, (_, i) => (i === 0 ? 'cold' : `turn ${i + 1}`)).join(' | ')} |`)
  console.log(`|---|${'---:|'.repeat(turns)}`)
  for (const [name, run, count = DECISIONS] of kinds) {
    const figures: string[] = []
    for (let turn = 0; turn < turns; turn++) {
      const before = process.cpuUsage()
      await run()
      const { user, system } = process.cpuUsage(before)
      figures.push(((user + system) / count).toFixed(2))
    }
    console.log(`| ${name} | ${figures.join(' | ')} |`)
  }
}

/** In no order that a cache could profit from. */
function demands(resources: number): Demand[] {
  return Array.from({ length: USERS }, (_, i) => {
    const user = (i * 7919) % USERS
    const owner = {
      userId: `user-${user}@example.org`,
      project: `project-${user % PROJECTS}`,
      department: `department-${user % DEPARTMENTS}`,
    }
    const amounts = RESOURCES.slice(0, resources).map((resource) => ({ resource, amount: 1 }))
    return { tenant: TENANT, owner, amounts }
  })
}

/** Every counter is in memory. */
function warmFold(): QuotasFold {
  const tasks = { deltasOf: () => undefined, ledger: { account: () => undefined } }
  const bounds = { countersMax: 100_000, countersKept: 0, closedKeptMs: 0, unmeasuredMax: 1000 }
  const fold = new QuotasFold({ tasks, storedUpTo: () => 0, ...bounds })
  fold.use(new QuotaIndex(LEVELS.flatMap((level) => RESOURCES.map((resource) => quota(level, resource)))))
  for (const { owner } of demands(1))
    for (const level of LEVELS) {
      const run = fold.count()!
      const cold = fold.cold({ tenant: TENANT, level, subject: subjectAt(level, TENANT, owner) }, NOW)
      run.finish(cold.map((counter) => ({ counter, slots: [] })))
    }
  return fold
}

function quota(level: Level, resource: string): Quota {
  return {
    id: `${level} ${resource}`,
    tenant: TENANT,
    level,
    subject: null,
    resource,
    window: { kind: 'month', zone: 'Europe/Berlin' },
    limit: ExactSum.of(LIMIT),
    enforcement: 'hard',
    shadow: false,
    thresholds: [],
    whenUnknown: 'closed',
    from: 0,
    to: Number.POSITIVE_INFINITY,
  }
}

function decisions(fold: QuotasFold, asked: readonly Demand[]): void {
  for (let i = 0; i < DECISIONS; i++) {
    const { outcome } = fold.check(asked[i % USERS]!, NOW, 'ask')
    if (outcome !== 'granted') throw new Error(`decision ${i} is "${outcome}": expected "granted"`)
  }
}

let position = 0

/** All of a reservation that is not the log's. */
function reservations(fold: QuotasFold, asked: readonly Demand[]): void {
  for (let i = 0; i < RESERVATIONS; i++) {
    const id = `${++position}`
    const demand = asked[i % USERS]!
    const reserved = fold.reserve(
      { ...demand, id, task: null, from: NOW, expires: NOW + 60_000, hash: '' },
      NOW + position,
      'ask',
    )
    if (reserved.outcome !== 'granted') throw new Error(`reservation ${id} is "${reserved.outcome}"`)
    for (const record of [reserved.record, fold.commit(TENANT, id, demand.amounts, NOW + position)])
      fold.apply({ ...record, n: ++position, value: JSON.parse(record.body) as unknown })
    if (i % 1000 === 0) fold.stored(position)
  }
}

async function consumed(
  limiter: RateLimiterMemory,
  keys: readonly (readonly string[])[],
  count: number,
): Promise<void> {
  for (let i = 0; i < DECISIONS; i++) {
    const own = keys[i % USERS]!
    for (let key = 0; key < count; key++) await limiter.consume(own[key]!, 1)
  }
}
