/** How a subject stands with a quota: a word with a sign, and a bar of what is used and held against the limit. */
import type { FigureAnswer } from '../../quotas/api.ts'
import { formatValue } from './format.ts'
import { amountText, exactText } from './quota-amount.ts'

const STATES: Readonly<Record<FigureAnswer['state'], readonly [word: string, means: string]>> = {
  ok: ['ok', 'less than 80 % is used or held'],
  near: ['near', 'at least 80 % is used or held'],
  over: ['over', 'nothing is left'],
  unknown: ['not counted', 'what was used could not be counted in time'],
}

export function QuotaState({ state }: Pick<FigureAnswer, 'state'>) {
  const [word, means] = STATES[state]
  return (
    <span class={`state quota-${state}`} title={means}>
      <span class="dot" aria-hidden="true" />
      {word}
    </span>
  )
}

/** The bar says nothing that the words beside it do not. */
export function QuotaUse({ figure }: { readonly figure: FigureAnswer }) {
  const { resource, used, held, leased, limit } = figure
  return (
    <span class="quota-use">
      <QuotaBar figure={figure} />
      <span title={`${exactText(resource, used)} used, ${exactText(resource, held)} held`}>
        {amountText(resource, used)}
        {Number(held) > 0 && ` + ${amountText(resource, held)} held`}
        {Number(leased) > 0 && ` + ${amountText(resource, leased)} lent`}{' '}
        <span class="muted">{used !== null && Number(limit) > 0 && formatValue(shareOf(figure), 'ratio')}</span>
      </span>
    </span>
  )
}

export function QuotaBar({ figure }: { readonly figure: FigureAnswer }) {
  const { used, limit, state } = figure
  const held = heldOf(figure)
  const all = Math.max(Number(limit), Number(used) + held) || 1
  const part = (amount: string | number | null): number => (100 * Math.max(0, Number(amount))) / all
  return (
    <svg class={`quota-bar quota-${state}`} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
      <rect class="bar-all" width="100" height="8" />
      <rect class="bar-used" width={part(used)} height="8" />
      <rect class="bar-held" x={part(used)} width={part(held)} height="8" />
      {Number(limit) < all && <rect class="bar-limit" x={Math.min(99, part(limit))} width="1" height="8" />}
    </svg>
  )
}

/** Of the limit, what is used and held, by collectors too; Infinity where nothing is allowed. */
export function shareOf(figure: FigureAnswer): number {
  return (Number(figure.used) + heldOf(figure)) / Number(figure.limit)
}

function heldOf({ held, leased }: FigureAnswer): number {
  return Number(held) + Number(leased)
}
