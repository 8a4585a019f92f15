/** The decision: everything that is asked for, at every level, in one step. The hot path: it makes nothing unless there is something to say. */
import type { Cold, ColdCounter, Decision, Demand, Figure, Granted, WhenCold } from './decision.ts'
import { ExactSum } from './exact-sum.ts'
import { LEVELS, subjectAt } from './quota.ts'
import type { Amount } from './quota-record.ts'
import type { Meter, Subject, Subjects } from './subjects.ts'
import { periodOf } from './window.ts'

const NOTHING: readonly Figure[] = Object.freeze([])
const GRANTED: Granted = Object.freeze({ outcome: 'granted', over: NOTHING, shadow: NOTHING, unknown: NOTHING })

/** What speaks against it, or is to be said. */
class Findings {
  readonly over: Figure[] = []
  readonly shadow: Figure[] = []
  readonly unknown: Figure[] = []
  readonly by: Figure[] = []
  readonly cold: ColdCounter[] = []
}

/** @param figures gets those of all quotas that are asked, narrowest level first */
export function decide(
  subjects: Subjects,
  demand: Demand,
  now: number,
  whenCold: WhenCold,
  figures?: Figure[],
): Decision {
  const { tenant, owner, amounts } = demand
  let findings: Findings | undefined
  for (const level of LEVELS) {
    const name = subjectAt(level, tenant, owner)
    if (name === '') continue
    const subject = subjects.at(tenant, level, name, now)
    for (const meter of subject.meters) {
      const amount = amountOf(amounts, meter.quota.resource)
      if (amount < 0) continue
      figures?.push(figureOf(subject, meter, now))
      const { counter, held, quota } = meter
      if (counter !== undefined) {
        if (now >= counter.endsAt) counter.advance(now)
        if (ExactSum.fits(counter.sum, held, amount, quota.limit)) continue
      }
      findings ??= new Findings()
      note(findings, subject, meter, now, whenCold)
    }
  }
  return findings === undefined ? GRANTED : verdict(findings)
}

/** Negative: it is not asked for. */
function amountOf(amounts: readonly Amount[], resource: string): number {
  for (const asked of amounts) if (asked.resource === resource) return asked.amount
  return -1
}

function note(findings: Findings, subject: Subject, meter: Meter, now: number, whenCold: WhenCold): void {
  const { quota, counter } = meter
  const refuses = quota.enforcement === 'hard' && !quota.shadow
  if (counter === undefined && whenCold === 'ask') findings.cold.push(coldOf(subject, meter, now))
  else if (counter === undefined && !(refuses && quota.whenUnknown === 'closed'))
    findings.unknown.push(figureOf(subject, meter, now))
  else if (refuses) findings.by.push(figureOf(subject, meter, now))
  else if (quota.shadow) findings.shadow.push(figureOf(subject, meter, now))
  else findings.over.push(figureOf(subject, meter, now))
}

/** What is not known may be counted in vain where something known refuses. */
function verdict({ by, cold, over, shadow, unknown }: Findings): Decision {
  if (by.length > 0) return { outcome: 'refused', by }
  if (cold.length > 0) return { outcome: 'cold', counters: cold } satisfies Cold
  return { outcome: 'granted', over, shadow, unknown }
}

export function coldOf({ tenant, level, subject }: Subject, { quota }: Meter, now: number): ColdCounter {
  const { resource, window } = quota
  return { tenant, level, subject, resource, window, period: periodOf(window, now) }
}

const NONE = new ExactSum()

/** Of most there is nothing. */
function unchanging(sum: ExactSum): ExactSum {
  return sum.sign === 0 ? NONE : sum.copy()
}

export function figureOf({ subject, held: all }: Subject, { quota, counter, held }: Meter, now: number): Figure {
  if (counter !== undefined && now >= counter.endsAt) counter.advance(now)
  const period = counter?.period ?? periodOf(quota.window, now)
  const resetsAt = counter === undefined ? (Number.isFinite(period.to) ? period.to : null) : counter.resetsAt
  const lent = all.lentNow(quota.resource)
  const sums = { held: unchanging(held), leased: unchanging(lent.sum), inDoubt: unchanging(lent.doubted) }
  return { quota, subject, period, counted: counter?.sum.copy(), ...sums, resetsAt }
}
