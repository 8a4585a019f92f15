/** A user, project, department or tenant with all of its quotas, one of them in full, and what is set aside for it. */
import type { FigureAnswer, SubjectAnswer } from '../../quotas/api.ts'
import { formatTime } from './format.ts'
import { Name } from './name.tsx'
import type { Polled } from './polling.ts'
import { usePolling } from './polling.ts'
import { amountText, exactText, resourceName } from './quota-amount.ts'
import { QuotaDetail } from './quota-detail.tsx'
import { QuotaHolds } from './quota-holds.tsx'
import { QuotaState, QuotaUse, shareOf } from './quota-state.tsx'
import { askSubject } from './quotas-answer.ts'
import type { SubjectQuestion } from './quotas-question.ts'
import { quotasLink, subjectLink } from './quotas-question.ts'
import { Enforcement, resetText, windowWord } from './quotas-table.tsx'
import type { Credentials } from './session.ts'
import { Starting } from './starting.tsx'
import { tasksLink } from './tasks-question.ts'

const LIVE_MS = 5000

export interface QuotaSubjectViewProps {
  readonly credentials: Credentials
  readonly question: SubjectQuestion
  /** Told of every answer and failure. */
  readonly children: (polled: Polled<SubjectAnswer>) => preact.ComponentChildren
}

export function QuotaSubjectView({ credentials, question, children }: QuotaSubjectViewProps) {
  const { level, subject } = question
  const polled = usePolling(JSON.stringify([credentials, level, subject]), LIVE_MS, (signal) =>
    askSubject(credentials, level, subject, signal),
  )
  const isTasks = level === 'user' || level === 'project'
  return (
    <main>
      {children(polled)}
      <p class="above">
        <a href={quotasLink()}>Quotas</a> <span aria-hidden="true">›</span> {level} <Name text={subject} max={80} />
        {isTasks && (
          <a class="to-tasks" href={tasksLink({ [level]: subject })}>
            tasks
          </a>
        )}
      </p>
      {polled.data === undefined ? (
        <Starting failed={polled.failure !== undefined} />
      ) : (
        <Shown credentials={credentials} question={question} answer={polled.data} />
      )}
    </main>
  )
}

interface ShownProps {
  readonly credentials: Credentials
  readonly question: SubjectQuestion
  readonly answer: SubjectAnswer
}

function Shown({ credentials, question, answer }: ShownProps) {
  const { level, subject } = question
  const { data, degraded, as_of } = answer
  const chosen = question.quota === '' ? [...data].sort(byNeed)[0] : data.find(({ quota }) => quota === question.quota)
  return (
    <>
      {degraded && (
        <p class="card why warn" role="alert">
          What was used could not be counted in time: ClickHouse is away or slow. It is shown as —, which is not zero.
          Until it is counted each quota refuses or lets pass as it is defined.
        </p>
      )}
      <section class="card quotas" aria-labelledby="subject-title">
        <header class="section">
          <h1 id="subject-title">
            <span class="muted">{level}</span> <Name text={subject} max={80} />
          </h1>
          <span class="muted">as of {formatTime(Date.parse(as_of))}</span>
        </header>
        {data.length === 0 ? (
          <p class="empty">
            No quota holds for this {level}: nothing is limited at this level.{' '}
            <a href={quotasLink()}>Show all quotas</a>
          </p>
        ) : (
          <FigureTable figures={data} chosen={chosen} question={question} />
        )}
      </section>
      {chosen === undefined ? (
        question.quota !== '' && (
          <p class="card empty">
            That quota does not hold for this {level} now.{' '}
            <a href={subjectLink(level, subject)}>Show the one nearest to its limit</a>
          </p>
        )
      ) : (
        <QuotaDetail
          key={chosen.quota}
          credentials={credentials}
          level={level}
          figure={chosen}
          now={Date.parse(as_of) / 1000}
        />
      )}
      <QuotaHolds credentials={credentials} question={question} />
    </>
  )
}

/** Those nearest to their limits first; what is not known before all. */
function byNeed(a: FigureAnswer, b: FigureAnswer): number {
  const need = (figure: FigureAnswer): number =>
    figure.used === null ? Number.POSITIVE_INFINITY : Number(figure.limit) === 0 ? 1 : shareOf(figure)
  return need(b) === need(a) ? 0 : need(b) - need(a)
}

interface FigureTableProps {
  readonly figures: readonly FigureAnswer[]
  readonly chosen: FigureAnswer | undefined
  readonly question: SubjectQuestion
}

function FigureTable({ figures, chosen, question }: FigureTableProps) {
  const { level, subject, held } = question
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Its quotas">
      <table class="tasks quotas">
        <thead>
          <tr>
            <th scope="col">Resource</th>
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
            <th scope="col" class="figure">
              Left
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
          {figures.map((figure) => (
            <tr key={figure.quota}>
              <th scope="row">
                <a
                  href={subjectLink(level, subject, { quota: figure.quota, held })}
                  aria-current={figure === chosen ? 'true' : undefined}
                >
                  {resourceName(figure.resource)}
                </a>
                <span class="narrow">
                  <span>
                    {windowWord(figure)}, <Enforcement of={figure} />
                  </span>
                  <QuotaUse figure={figure} />
                  <span class="muted">
                    <QuotaState state={figure.state} /> · resets {resetText(figure)}
                  </span>
                </span>
              </th>
              <td class="wide">{windowWord(figure)}</td>
              <td class="figure" title={exactText(figure.resource, figure.limit)}>
                {amountText(figure.resource, figure.limit)}
              </td>
              <td class="wide">
                <Enforcement of={figure} />
              </td>
              <td class="wide">
                <QuotaUse figure={figure} />
              </td>
              <td class="figure" title={exactText(figure.resource, figure.left)}>
                {amountText(figure.resource, figure.left)}
              </td>
              <td class="wide">
                <QuotaState state={figure.state} />
              </td>
              <td class="wide figure">{resetText(figure)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  )
}
