/**
 * A granted answer as JSON text, made in one go: what of a figure is the same in every answer is kept with its quota. An object for
 * `JSON.stringify` costs three times as much, and a gateway asks before each request. A test has both say the same.
 */
import type { Figure } from './decision.ts'
import type { Quota } from './quota.ts'
import type { Standing } from './quota-answers.ts'
import { DECIDED_BY, limitText } from './quota-answers.ts'
import type { Said } from './quota-record.ts'

/** What of a figure's text only a new definition changes: before the subject, behind it, and behind the times. */
interface Fixed {
  readonly head: string
  readonly middle: string
  readonly tail: string
}

const known = new WeakMap<Quota, Fixed>()

/** @param standings of the figures, in their order @param asOf RFC 3339 */
export function grantedText(
  { over, shadow, unknown }: Said,
  figures: readonly Figure[],
  standings: readonly Standing[],
  asOf: string,
): string {
  let quotas = ''
  for (const [i, figure] of figures.entries()) quotas += `${i === 0 ? '' : ','}${figureText(figure, standings[i]!)}`
  return `{"granted":true,"over":${listed(over)},"shadow":${listed(shadow)},"unknown":${listed(unknown)},"degraded":${unknown.length > 0},"quotas":[${quotas}],"decided_by":"${DECIDED_BY}","as_of":"${asOf}"}`
}

function figureText({ quota, subject }: Figure, standing: Standing): string {
  const { used, held, leased, inDoubt, left, periodFrom, resetsAt, state } = standing
  const { head, middle, tail } = fixedOf(quota)
  return `${head}${JSON.stringify(subject)}${middle}${quoted(used)},"held":"${held}","leased":"${leased}","in_doubt":"${inDoubt}","left":${quoted(left)},"period_from":${quoted(periodFrom)},"resets_at":${quoted(resetsAt)}${tail}"${state}"}`
}

function fixedOf(quota: Quota): Fixed {
  let fixed = known.get(quota)
  if (fixed === undefined) {
    const { id, level, resource, window, enforcement, shadow } = quota
    const [named, limit] = [JSON.stringify({ resource, window: window.kind }), JSON.stringify(limitText(quota))]
    fixed = {
      head: `{"quota":${JSON.stringify(id)},"level":"${level}","subject":`,
      middle: `,${named.slice(1, -1)},"limit":${limit},"used":`,
      tail: `,"enforcement":"${enforcement}","shadow":${shadow},"state":`,
    }
    known.set(quota, fixed)
  }
  return fixed
}

/** Of digits and times: nothing in them has to be escaped. */
function quoted(text: string | null): string {
  return text === null ? 'null' : `"${text}"`
}

function listed(ids: readonly string[]): string {
  return ids.length === 0 ? '[]' : JSON.stringify(ids)
}
