/** Tasks, the newest first: filters, a page of them, the next page. What is asked stands in the address. Live while it is looked at. */
import { useState } from 'preact/hooks'
import type { TasksAnswer } from '../../tasks/task-answers.ts'
import { Choice, TextChoice } from './filter-fields.tsx'
import { IdleTime } from './idle-time.tsx'
import { cut } from './name.tsx'
import { Pages } from './pages.tsx'
import type { Polled } from './polling.ts'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'
import { Starting } from './starting.tsx'
import type { Period, TasksQuestion } from './tasks-question.ts'
import { ANY_TASK, PERIODS, STATES, tasksLink, tasksParameters } from './tasks-question.ts'
import { TasksTable } from './tasks-table.tsx'

const PAGE = '50'
/** The newest page while something goes on there, and one where nothing does. */
const LIVE_MS = 5000
const QUIET_MS = 15_000

export interface TasksViewProps {
  readonly credentials: Credentials
  readonly question: TasksQuestion
  /** Told of every answer and failure. */
  readonly children: (polled: Polled<TasksAnswer>) => preact.ComponentChildren
}

export function TasksView({ credentials, question, children }: TasksViewProps) {
  const polled = usePolling(JSON.stringify([credentials, question]), pauseAfter(question), (signal) =>
    ask<TasksAnswer>(credentials, 'v1/tasks', { ...tasksParameters(question, Date.now()), limit: PAGE }, signal),
  )
  const [shown, setShown] = useState(polled.data)
  // Other tasks come with the next answer: until then the page stays as it is.
  if (polled.data !== undefined && polled.data !== shown) setShown(polled.data)
  const answer = polled.data ?? shown
  return (
    <main>
      {children(polled)}
      <Filters question={question} answer={answer} />
      {answer === undefined ? (
        <Starting failed={polled.failure !== undefined} />
      ) : (
        <section class="card tasks" aria-labelledby="tasks-title" aria-busy={polled.data === undefined}>
          <header class="section">
            <h2 id="tasks-title">Tasks</h2>
            <span class="muted">{foundText(answer, question)}</span>
          </header>
          <IdleTime credentials={credentials} question={question} />
          {answer.data.length === 0 ? <NoTasks question={question} /> : <TasksTable tasks={answer.data} />}
          <Pages
            first={
              question.cursor === '' ? undefined : { text: 'Newest', href: tasksLink({ ...question, cursor: '' }) }
            }
            next={
              answer.next_cursor === null
                ? undefined
                : { text: 'Older', href: tasksLink({ ...question, cursor: answer.next_cursor }) }
            }
          />
        </section>
      )}
    </main>
  )
}

function pauseAfter({ cursor }: TasksQuestion): (answer: TasksAnswer) => number {
  return ({ data }) => (cursor === '' && data.some(({ provisional }) => provisional) ? LIVE_MS : QUIET_MS)
}

function foundText({ data, next_cursor }: TasksAnswer, { cursor }: TasksQuestion): string {
  if (cursor === '' && next_cursor === null) return data.length === 1 ? '1 attempt' : `${data.length} attempts`
  return `${data.length} on this page, the newest first`
}

function NoTasks({ question }: { readonly question: TasksQuestion }) {
  if (question.cursor !== '') return <p class="empty">There are no older ones.</p>
  const isAny = tasksLink({ ...question, period: 'all' }) === tasksLink({ period: 'all' })
  return (
    <p class="empty">
      {isAny && question.period === 'all'
        ? 'No task has been told of yet: services tell of them by events, at POST /v1/events of a collector.'
        : 'No task is like that in this time.'}
      {!(isAny && question.period === 'all') && <a href={tasksLink({ period: 'all' })}>Show all tasks</a>}
    </p>
  )
}

interface FiltersProps {
  readonly question: TasksQuestion
  /** What is on the page may be chosen. */
  readonly answer: TasksAnswer | undefined
}

function Filters({ question, answer }: FiltersProps) {
  const change = (changed: Partial<TasksQuestion>): void => {
    location.hash = tasksLink({ ...question, ...changed, cursor: '' })
  }
  const texts = [
    ['model', 'Model', answer?.data.map(({ model }) => model)],
    ['user', 'User', answer?.data.map(({ user_id }) => user_id)],
  ] as const
  const chips = (['project', 'node'] as const).filter((name) => question[name] !== '')
  const isAny = tasksLink({ ...question, cursor: '' }) === tasksLink(ANY_TASK)
  return (
    <search class="card controls filters" aria-label="Which tasks">
      <Choice title="State" value={question.state} among={STATES} change={(state) => change({ state })} />
      {texts.map(([name, title, known]) => (
        <TextChoice
          key={name}
          name={name}
          title={title}
          value={question[name]}
          known={known}
          change={(value) => change({ [name]: value })}
        />
      ))}
      <label>
        Time
        <select value={question.period} onChange={(event) => change({ period: event.currentTarget.value as Period })}>
          {Object.entries(PERIODS).map(([period, { name }]) => (
            <option key={period} value={period}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {question.period === 'days' &&
        (['first', 'last'] as const).map((name) => (
          <label key={name}>
            {name === 'first' ? 'From' : 'To'}
            <input
              type="date"
              value={question[name]}
              onChange={(event) => change({ [name]: event.currentTarget.value })}
            />
          </label>
        ))}
      {chips.map((name) => (
        <button key={name} type="button" class="chip" onClick={() => change({ [name]: '' })}>
          {name} <bdi>{cut(question[name], 40)}</bdi> <span aria-hidden="true">×</span>
          <span class="visually-hidden">: take it away</span>
        </button>
      ))}
      {!isAny && <a href={tasksLink(ANY_TASK)}>Clear</a>}
    </search>
  )
}
