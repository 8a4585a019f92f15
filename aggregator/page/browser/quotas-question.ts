/** Which quotas are asked for, as it stands in the address and as the server is asked. */
import type { Quota } from '../../directory/quota.ts'

export type QuotaLevel = Quota['level']
export const LEVELS: readonly QuotaLevel[] = ['user', 'project', 'department', 'tenant']

/** Texts are exact; '' is any. */
export interface QuotasQuestion {
  readonly level: QuotaLevel | ''
  readonly subject: string
  readonly resource: string
  /** '' is the first page. */
  readonly cursor: string
}

/** One subject and its quotas. */
export interface SubjectQuestion {
  readonly level: QuotaLevel
  readonly subject: string
  /** Id of the one that is shown in full; '': the one that is nearest to its limit. */
  readonly quota: string
  /** Cursor of its open reservations; '' is the first page. */
  readonly held: string
}

const ANY: QuotasQuestion = { level: '', subject: '', resource: '', cursor: '' }

export function readQuotasQuestion(parameters: URLSearchParams): QuotasQuestion {
  const text = (name: string): string => parameters.get(name) ?? ''
  return {
    level: LEVELS.find((level) => level === text('level')) ?? '',
    subject: text('subject'),
    resource: text('resource'),
    cursor: text('cursor'),
  }
}

/** The address of these quotas: only what differs from any. */
export function quotasLink(asked: Partial<QuotasQuestion> = {}): string {
  return withSearch('#/quotas', { ...ANY, ...asked })
}

/** Parameters of `GET /v1/quotas`. */
export function quotasParameters(asked: QuotasQuestion): Record<string, string> {
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== ''))
}

export function readSubjectQuestion(level: QuotaLevel, subject: string, parameters: URLSearchParams): SubjectQuestion {
  return { level, subject, quota: parameters.get('quota') ?? '', held: parameters.get('held') ?? '' }
}

export function subjectLink(
  level: QuotaLevel,
  subject: string,
  more: Partial<Pick<SubjectQuestion, 'quota' | 'held'>> = {},
): string {
  return withSearch(`#/quotas/${level}/${encodeURIComponent(subject)}`, more)
}

function withSearch(path: string, parameters: object): string {
  const said = Object.entries(parameters as Record<string, string>).filter(([, value]) => value !== '')
  return said.length === 0 ? path : `${path}?${new URLSearchParams(said).toString()}`
}
