/**
 * `npm run bench -- lease-decision`: what a decision costs a collector that holds slices of quotas: in memory, and with its journal,
 * where a hundred that come at once share a write and a sync. Beside a decision in memory of an aggregator: `-- quota-decision`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LeaseDesk } from '../collector/leases/lease-desk.ts'
import { LeaseJournals } from '../collector/leases/lease-journal.ts'
import { CollectorLeases } from '../collector/leases/lease-service.ts'
import type { LeaseAnswer, LeaseRound } from '../proto/quotas/lease-round.ts'
import type { AskedReservation } from '../proto/quotas/request.ts'
import { systemClock } from '../proto/runtime/clock.ts'
import { silentLogger } from '../proto/runtime/log.ts'

const USERS = 1000
const DECISIONS = 200_000
const JOURNALED = 20_000
const AT_ONCE = 100
/** A second of ten thousand. */
const TOLD_EACH = 10_000
/** Nobody comes to it. */
const GRANTED = 2 ** 40
const TENANT = 'default'
const IDENTITY = { collector: 'bench', epoch: '1.00000000', boot: '' }

export async function leaseDecision(turns: number): Promise<void> {
  const kinds: readonly (readonly [name: string, run: () => Promise<number>, count: number])[] = [
    ['check', checks, DECISIONS],
    ['reserved and reported', reservations, DECISIONS],
    [`the same with the journal, ${AT_ONCE} at once`, journaled, JOURNALED],
  ]
  console.log(`\nµs of CPU a decision, and µs that passed; slices of ${USERS} users\n`)
  console.log(`| | ${Array.from({ length: turns }, (_, i) => (i === 0 ? 'cold' : `turn ${i + 1}`)).join(' | ')} |`)
  console.log(`|---|${'---:|'.repeat(turns)}`)
  for (const [name, run, count] of kinds) {
    const figures: string[] = []
    for (let turn = 0; turn < turns; turn++) {
      const before = process.cpuUsage()
      const started = performance.now()
      const granted = await run()
      if (granted !== count) throw new Error(`${name}: ${granted} of ${count} were granted`)
      const { user, system } = process.cpuUsage(before)
      figures.push(
        `${((user + system) / count).toFixed(2)}, ${(((performance.now() - started) * 1000) / count).toFixed(2)}`,
      )
    }
    console.log(`| ${name} | ${figures.join(' | ')} |`)
  }
}

async function checks(): Promise<number> {
  const desk = warmDesk()
  const now = { wall: 0, monotonic: 0 }
  let granted = 0
  for (let i = 0; i < DECISIONS; i++) if (desk.check(TENANT, asked(i), now)) granted++
  return granted
}

/** A round after so many: what was decided is known then. */
async function reservations(): Promise<number> {
  const desk = warmDesk()
  const now = { wall: 0, monotonic: 0 }
  let granted = 0
  for (let i = 0; i < DECISIONS; i++) {
    const decided = desk.reserve(TENANT, asked(i), now)
    if (decided.kind !== 'taken') continue
    desk.durable(decided.local)
    if (desk.stands(now)) granted++
    if (i % TOLD_EACH !== TOLD_EACH - 1) continue
    const round = desk.round(now, true)
    desk.answered(round, answer(round), now)
  }
  return granted
}

async function journaled(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const service = new CollectorLeases({
    collector: 'bench',
    boot: '',
    journals: new LeaseJournals(join(directory, 'leases')),
    ask: async (round) => answer(round),
    clock: systemClock,
    log: silentLogger,
  })
  try {
    await service.start()
    while (service.sizes.slices < USERS) await new Promise((resolve) => setTimeout(resolve, 5))
    let granted = 0
    for (let i = 0; i < JOURNALED; i += AT_ONCE) {
      const outcomes = await Promise.all(
        Array.from({ length: AT_ONCE }, (_, j) => service.reserve(TENANT, asked(i + j))),
      )
      granted += outcomes.filter(({ kind }) => kind === 'granted').length
    }
    return granted
  } finally {
    await service.stop(AbortSignal.timeout(10_000))
    rmSync(directory, { recursive: true, force: true })
  }
}

function warmDesk(): LeaseDesk {
  const desk = new LeaseDesk(IDENTITY)
  const now = { wall: 0, monotonic: 0 }
  const round = desk.round(now, true)
  desk.answered(round, answer(round), now)
  return desk
}

function asked(i: number): AskedReservation {
  const amounts = [{ resource: 'tokens', amount: 1 }]
  const said = [`user-${(i * 7919) % USERS}@example.org`, '', ''] as const
  return { said, amounts, id: `r${i}`, task: null, seconds: 600, issuedAt: undefined, hash: 'h' }
}

/** Everybody has a slice that lasts; what is ended is ended, what was told is known. */
function answer(round: LeaseRound): LeaseAnswer {
  const terms = { termMs: 60_000, reservedMaxMs: 3_600_000, rememberedMs: 600_000, superseded: null }
  const told = new Map(round.slices.map((slice) => [slice.lease, slice]))
  const closed = round.slices.filter(({ ended }) => ended).map(({ tenant, lease }) => ({ tenant, lease }))
  const slices = Array.from({ length: USERS }, (_, i) => {
    const said = { userId: `user-${i}@example.org`, project: '', department: '' }
    const granted = [{ resource: 'tokens', amount: GRANTED }]
    const reported = told.get(i + 1)?.admissions.at(-1)?.index ?? 0
    return { tenant: TENANT, lease: i + 1, said, owner: said, granted, reported, recalled: false }
  }).filter(({ lease }) => told.get(lease)?.ended !== true)
  return { ...terms, slices, closed, earlier: [] }
}
