/** Quotas of now, a page of them: filters, who they are for, how far those that name somebody are used. And a way to anybody's. */
import { useState } from 'preact/hooks'
import { Choice, TextChoice } from './filter-fields.tsx'
import { formatTime } from './format.ts'
import { Pages } from './pages.tsx'
import type { Polled } from './polling.ts'
import { usePolling } from './polling.ts'
import type { QuotasAnswer } from './quotas-answer.ts'
import { askQuotas, askUses, namedIn } from './quotas-answer.ts'
import type { QuotaLevel, QuotasQuestion } from './quotas-question.ts'
import { LEVELS, quotasLink, subjectLink } from './quotas-question.ts'
import { QuotasTable } from './quotas-table.tsx'
import type { Credentials } from './session.ts'
import { Starting } from './starting.tsx'

/** Definitions change seldom, what is used often. */
const DEFINITIONS_MS = 30_000
const USES_MS = 10_000

export interface QuotasViewProps {
  readonly credentials: Credentials
  readonly question: QuotasQuestion
  /** Told of every answer and failure. */
  readonly children: (polled: Polled<QuotasAnswer>) => preact.ComponentChildren
}

export function QuotasView({ credentials, question, children }: QuotasViewProps) {
  const polled = usePolling(JSON.stringify([credentials, question]), DEFINITIONS_MS, (signal) =>
    askQuotas(credentials, question, signal),
  )
  const [shown, setShown] = useState(polled.data)
  // Others come with the next answer: until then the page stays as it is.
  if (polled.data !== undefined && polled.data !== shown) setShown(polled.data)
  const answer = polled.data ?? shown
  const named = namedIn(answer?.data ?? [])
  const uses = usePolling(JSON.stringify([credentials, named]), USES_MS, (signal) =>
    askUses(credentials, named, signal),
  )
  return (
    <main>
      {children(polled)}
      <Finder />
      <Filters question={question} answer={answer} />
      {answer === undefined ? (
        <Starting failed={polled.failure !== undefined} />
      ) : (
        <section class="card quotas" aria-labelledby="quotas-title" aria-busy={polled.data === undefined}>
          <header class="section">
            <h2 id="quotas-title">Quotas</h2>
            <span class="muted">
              {answer.data.length} on this page, that hold now
              {named.length > 0 && uses.data !== undefined && `; use as of ${formatTime(uses.data.at)}`}
            </span>
            {uses.failure !== undefined && (
              <span class="warn" role="alert">
                What is used is not known: {uses.failure.message}
              </span>
            )}
          </header>
          {answer.data.length === 0 ? (
            <NoQuotas question={question} />
          ) : (
            <QuotasTable quotas={answer.data} uses={uses.data?.bySubject} />
          )}
          <Pages
            first={
              question.cursor === '' ? undefined : { text: 'First', href: quotasLink({ ...question, cursor: '' }) }
            }
            next={
              answer.next_cursor === null
                ? undefined
                : { text: 'Next', href: quotasLink({ ...question, cursor: answer.next_cursor }) }
            }
          />
        </section>
      )}
    </main>
  )
}

function NoQuotas({ question }: { readonly question: QuotasQuestion }) {
  if (question.cursor !== '') return <p class="empty">There are no more.</p>
  const isAny = quotasLink(question) === quotasLink()
  return (
    <p class="empty">
      {isAny
        ? 'There is no quota: nothing is limited. They are made at POST /v1/quotas.'
        : 'No quota that holds now is like that.'}
      {!isAny && <a href={quotasLink()}>Show all quotas</a>}
    </p>
  )
}

/** Anybody's quotas: those that name them, and those for all of their level. */
function Finder() {
  const [level, setLevel] = useState<QuotaLevel>('user')
  const [name, setName] = useState('')
  return (
    <form
      class="card controls filters"
      aria-label="Whose quotas"
      onSubmit={(event) => {
        event.preventDefault()
        if (name.trim() !== '') location.hash = subjectLink(level, name.trim())
      }}
    >
      <label>
        Quotas of the
        <select value={level} onChange={(event) => setLevel(event.currentTarget.value as QuotaLevel)}>
          {LEVELS.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
      </label>
      <label>
        Name
        <input
          type="search"
          id="whose"
          maxLength={256}
          autocomplete="off"
          spellcheck={false}
          value={name}
          onInput={(event) => setName(event.currentTarget.value)}
        />
      </label>
      <button type="submit">Show</button>
    </form>
  )
}

interface FiltersProps {
  readonly question: QuotasQuestion
  /** What is on the page may be chosen. */
  readonly answer: QuotasAnswer | undefined
}

function Filters({ question, answer }: FiltersProps) {
  const change = (changed: Partial<QuotasQuestion>): void => {
    location.hash = quotasLink({ ...question, ...changed, cursor: '' })
  }
  const texts = [
    ['subject', 'For', answer?.data.map(({ subject }) => subject)],
    ['resource', 'Resource', answer?.data.map(({ resource }) => resource)],
  ] as const
  return (
    <search class="card controls filters" aria-label="Which quotas">
      <Choice title="Level" value={question.level} among={LEVELS} change={(level) => change({ level })} />
      {texts.map(([name, title, known]) => (
        <TextChoice
          key={name}
          name={name}
          title={title}
          value={question[name]}
          known={known}
          shownMax={60}
          change={(value) => change({ [name]: value })}
        />
      ))}
      {quotasLink({ ...question, cursor: '' }) !== quotasLink() && <a href={quotasLink()}>Clear</a>}
    </search>
  )
}
