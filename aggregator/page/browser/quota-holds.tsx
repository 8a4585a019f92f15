/** What is set aside for a subject: its open reservations, the oldest first, a page of them. */
import type { OpenReservationAnswer, SubjectReservationsAnswer } from '../../quotas/api.ts'
import { Name, shortId } from './name.tsx'
import { Pages } from './pages.tsx'
import { taskLink } from './place.ts'
import { usePolling } from './polling.ts'
import { amountText, exactText, resourceName } from './quota-amount.ts'
import type { SubjectQuestion } from './quotas-question.ts'
import { subjectLink } from './quotas-question.ts'
import { minuteText } from './quotas-table.tsx'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

const LIVE_MS = 5000
const PAGE = '25'

interface QuotaHoldsProps {
  readonly credentials: Credentials
  readonly question: SubjectQuestion
}

export function QuotaHolds({ credentials, question }: QuotaHoldsProps) {
  const { level, subject, quota, held } = question
  const { data, failure } = usePolling(JSON.stringify([credentials, level, subject, held]), LIVE_MS, (signal) =>
    ask<SubjectReservationsAnswer>(
      credentials,
      `v1/subjects/${level}/${encodeURIComponent(subject)}/reservations`,
      { limit: PAGE, ...(held === '' ? {} : { cursor: held }) },
      signal,
    ),
  )
  const next = data?.next_cursor ?? null
  return (
    <section class="card" aria-labelledby="held-title">
      <header class="section">
        <h2 id="held-title">Held</h2>
        <span class="muted">open reservations, the oldest first</span>
        {failure !== undefined && <span class="warn">{failure.message}</span>}
      </header>
      {data !== undefined &&
        (data.data.length === 0 ? (
          <p class="empty">{held === '' ? 'Nothing is reserved for it.' : 'There are no newer ones.'}</p>
        ) : (
          <HoldsTable holds={data.data} />
        ))}
      <Pages
        label="Pages of what is held"
        first={held === '' ? undefined : { text: 'Oldest', href: subjectLink(level, subject, { quota }) }}
        next={next === null ? undefined : { text: 'Newer', href: subjectLink(level, subject, { quota, held: next }) }}
      />
    </section>
  )
}

function HoldsTable({ holds }: { readonly holds: readonly OpenReservationAnswer[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Open reservations">
      <table class="tasks holds">
        <thead>
          <tr>
            <th scope="col">Reservation</th>
            <th scope="col">Held of what was reserved</th>
            <th scope="col" class="wide">
              User
            </th>
            <th scope="col" class="wide roomy">
              Project
            </th>
            <th scope="col" class="wide">
              Task
            </th>
            <th scope="col" class="wide figure">
              Since
            </th>
            <th scope="col" class="wide figure">
              Expires
            </th>
          </tr>
        </thead>
        <tbody>
          {holds.map((hold) => (
            <tr key={hold.id}>
              <th scope="row" title={hold.id}>
                <Name text={shortId(hold.id)} max={24} />
                <span class="narrow">
                  <span class="muted">until {minuteText(hold.expires_at)}</span>
                </span>
              </th>
              <td class="amounts">
                <Amounts hold={hold} />
              </td>
              <td class="wide name">
                <Name text={hold.user_id} max={24} />
              </td>
              <td class="wide roomy name">
                <Name text={hold.project} max={24} />
              </td>
              <td class="wide name">
                {hold.task_id === null ? (
                  <Name text={null} />
                ) : (
                  <a href={taskLink(hold.task_id, hold.attempt ?? undefined)}>
                    <Name text={shortId(hold.task_id)} max={24} />
                  </a>
                )}
              </td>
              <td class="wide figure">{minuteText(hold.reserved_at)}</td>
              <td class="wide figure">{minuteText(hold.expires_at)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Amounts({ hold }: { readonly hold: OpenReservationAnswer }) {
  return Object.entries(hold.amounts).map(([resource, amount]) => {
    const held = hold.held[resource] ?? amount
    return (
      <span key={resource} title={`${exactText(resource, held)} of ${exactText(resource, amount)}`}>
        {amountText(resource, held)} <span class="muted">{resourceName(resource)}</span>
        {held !== amount && <span class="muted"> of {amountText(resource, amount)}</span>}
      </span>
    )
  })
}
