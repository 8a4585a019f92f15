/** A page of definitions, and how those stand that they name. */
import type { Quota } from '../../directory/quota.ts'
import type { SubjectAnswer } from '../../quotas/api.ts'
import type { QuotaLevel, QuotasQuestion } from './quotas-question.ts'
import { quotasParameters } from './quotas-question.ts'
import type { Credentials } from './session.ts'
import { ask, Failure } from './session.ts'

const PAGE = '25'
/** Of all tenants, which only the operator says. */
export const ALL_TENANTS = '*'

export interface QuotasAnswer {
  readonly data: readonly Quota[]
  readonly next_cursor: string | null
}

type Named = readonly [level: QuotaLevel, subject: string]

/** How each stands, by {@link keyOf}; or why nobody says. */
export type Uses = ReadonlyMap<string, SubjectAnswer | Failure>

export function askQuotas(
  credentials: Credentials,
  question: QuotasQuestion,
  signal: AbortSignal,
): Promise<QuotasAnswer> {
  const parameters = { ...quotasParameters(question), at: new Date().toISOString(), limit: PAGE }
  return ask<QuotasAnswer>(credentials, 'v1/quotas', parameters, signal)
}

/** Whom a definition is for; undefined: each of its level by itself. */
export function subjectOf({ level, subject, tenant }: Quota): string | undefined {
  if (subject !== null) return subject
  return level === 'tenant' && tenant !== ALL_TENANTS ? tenant : undefined
}

/** Those that are named, each once. */
export function namedIn(quotas: readonly Quota[]): readonly Named[] {
  const named = new Map<string, Named>()
  for (const quota of quotas) {
    const subject = subjectOf(quota)
    if (subject !== undefined) named.set(keyOf(quota.level, subject), [quota.level, subject])
  }
  return [...named.values()]
}

export function keyOf(level: QuotaLevel, subject: string): string {
  return `${level} ${subject}`
}

export function askSubject(
  credentials: Credentials,
  level: QuotaLevel,
  subject: string,
  signal: AbortSignal,
): Promise<SubjectAnswer> {
  return ask<SubjectAnswer>(credentials, `v1/subjects/${level}/${encodeURIComponent(subject)}/quotas`, {}, signal)
}

/** Of one that cannot be answered the others are shown all the same. @throws Failure that all of them have in common */
export async function askUses(
  credentials: Credentials,
  named: readonly Named[],
  signal: AbortSignal,
): Promise<{ readonly bySubject: Uses; readonly at: number }> {
  const answers = await Promise.all(
    named.map(async ([level, subject]) => {
      const answer = await askSubject(credentials, level, subject, signal).catch((error: unknown) => {
        if (error instanceof Failure && error.kind === 'refused') return error
        throw error
      })
      return [keyOf(level, subject), answer] as const
    }),
  )
  return { bySubject: new Map(answers), at: Date.now() }
}
