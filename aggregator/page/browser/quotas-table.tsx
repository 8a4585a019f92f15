/** A page of quotas: a definition a row, with its use where it names somebody. On a phone all of it stands below its name. */
import type { Quota } from '../../directory/quota.ts'
import type { FigureAnswer } from '../../quotas/api.ts'
import { formatDuration, formatTime, NONE } from './format.ts'
import { cut, Name } from './name.tsx'
import { amountText, exactText, resourceName } from './quota-amount.ts'
import { QuotaState, QuotaUse } from './quota-state.tsx'
import type { Uses } from './quotas-answer.ts'
import { ALL_TENANTS, keyOf, subjectOf } from './quotas-answer.ts'
import { subjectLink } from './quotas-question.ts'
import { Failure } from './session.ts'

export interface QuotasTableProps {
  readonly quotas: readonly Quota[]
  /** undefined: not answered yet. */
  readonly uses: Uses | undefined
}

export function QuotasTable({ quotas, uses }: QuotasTableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Quotas that hold now">
      <table class="tasks quotas">
        <thead>
          <tr>
            <th scope="col">For</th>
            <th scope="col" class="wide">
              Resource
            </th>
            <th scope="col" class="wide">
              In
            </th>
            <th scope="col" class="figure">
              Limit
            </th>
            <th scope="col" class="wide">
              Beyond it
            </th>
            <th scope="col" class="wide">
              Used, held
            </th>
            <th scope="col" class="wide">
              State
            </th>
            <th scope="col" class="wide figure">
              Resets
            </th>
          </tr>
        </thead>
        <tbody>
          {quotas.map((quota) => (
            <QuotaRow key={quota.id} quota={quota} uses={uses} />
          ))}
        </tbody>
      </table>
    </section>
  )
}

function QuotaRow({ quota, uses }: { readonly quota: Quota; readonly uses: Uses | undefined }) {
  const { resource, limit } = quota
  const subject = subjectOf(quota)
  const use = useOf(quota, uses)
  return (
    <tr>
      <th scope="row">
        <Whom quota={quota} />
        <span class="narrow">
          <span>
            {resourceName(resource)} in {windowText(quota)}, <Enforcement of={quota} />
          </span>
          {subject !== undefined && <Use use={use} />}
          {typeof use === 'object' && (
            <span class="muted">
              <QuotaState state={use.state} /> · resets {resetText(use)}
            </span>
          )}
        </span>
      </th>
      <td class="wide">
        <span title={cut(resource, 64)}>{resourceName(resource)}</span>
      </td>
      <td class="wide">{windowText(quota)}</td>
      <td class="figure" title={exactText(resource, limit)}>
        {amountText(resource, limit)}
      </td>
      <td class="wide">
        <Enforcement of={quota} />
      </td>
      <td class="wide">{subject === undefined ? <span class="muted">each by itself</span> : <Use use={use} />}</td>
      <td class="wide">{typeof use === 'object' ? <QuotaState state={use.state} /> : NONE}</td>
      <td class="wide figure">{typeof use === 'object' ? resetText(use) : NONE}</td>
    </tr>
  )
}

function Whom({ quota }: { readonly quota: Quota }) {
  const { id, level, tenant } = quota
  const subject = subjectOf(quota)
  return (
    <>
      {subject === undefined ? (
        `each ${level}`
      ) : (
        <>
          <span class="muted">{level} </span>
          <a href={subjectLink(level, subject, { quota: id })}>
            <Name text={subject} max={32} />
          </a>
        </>
      )}
      {tenant === ALL_TENANTS && <span class="muted"> of every tenant</span>}
    </>
  )
}

/** A figure, or why there is none: a text. */
type Use = FigureAnswer | string

function useOf(quota: Quota, uses: Uses | undefined): Use {
  const subject = subjectOf(quota)
  if (subject === undefined || uses === undefined) return 'asking …'
  const answer = uses.get(keyOf(quota.level, subject))
  if (answer === undefined) return 'asking …'
  if (answer instanceof Failure) return answer.message
  return answer.data.find((figure) => figure.quota === quota.id) ?? 'it does not hold any more, or not yet'
}

function Use({ use }: { readonly use: Use }) {
  if (typeof use === 'object') return <QuotaUse figure={use} />
  return (
    <span class="muted" title={cut(use, 300)}>
      {NONE}
    </span>
  )
}

export function Enforcement({ of }: { readonly of: Pick<Quota, 'enforcement' | 'shadow'> }) {
  if (of.shadow) return <span title="refuses nothing: answers say what it would have done">shadow</span>
  return of.enforcement === 'hard' ? (
    <span title="what does not fit is refused">hard</span>
  ) : (
    <span title="what does not fit is granted, and flagged">soft</span>
  )
}

/** A rolling window in which nothing is, or nobody knows what, gives nothing back. */
export function resetText({ resets_at, window }: FigureAnswer): string {
  if (resets_at === null) return window === 'rolling' ? NONE : 'never'
  return minuteText(resets_at)
}

/** Without seconds: they say nothing here. */
export function minuteText(time: string): string {
  return formatTime(Date.parse(time)).slice(0, -3)
}

const WINDOWS: Readonly<Record<FigureAnswer['window'], string>> = {
  day: 'a day',
  week: 'a week',
  month: 'a month',
  rolling: 'rolling',
  lifetime: 'all time',
}

export function windowWord({ window }: Pick<FigureAnswer, 'window'>): string {
  return WINDOWS[window]
}

export function windowText(quota: Pick<Quota, 'window' | 'zone' | 'seconds'>): string {
  const { window, zone, seconds } = quota
  if (window === 'rolling') return `the last ${formatDuration(seconds)}`
  return window === 'lifetime' || zone === 'UTC' ? windowWord(quota) : `${windowWord(quota)}, ${cut(zone, 40)}`
}
