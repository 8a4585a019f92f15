/** How a task is: its state, who and where, how it ended, and what to do where it failed. */
import type { Category, Chargeable, Retry } from '../../../proto/errors/categories.ts'
import { CATEGORIES } from '../../../proto/errors/categories.ts'
import type { TaskAttemptAnswer, TaskErrorAnswer } from '../../tasks/task-answers.ts'
import { formatDuration, formatMoney, formatTime, formatValue } from './format.ts'
import { cut, Name } from './name.tsx'
import type { QuotaLevel } from './quotas-question.ts'
import { subjectLink } from './quotas-question.ts'
import { StateMark } from './task-state.tsx'
import { tasksLink } from './tasks-question.ts'
import { busyShare } from './tasks-table.tsx'

export function TaskHead({ task }: { readonly task: TaskAttemptAnswer }) {
  return (
    <section class="card task-head" aria-labelledby="task-title">
      <header>
        <h1 id="task-title">
          <Name text={task.model ?? 'Task'} max={80} />
        </h1>
        <StateMark state={task.state} />
        {task.provisional && <span class="muted">figures may still change</span>}
      </header>
      <dl class="key-figures">
        <Key name="Duration" value={formatDuration(task.duration_seconds)} />
        <Key
          name="GPU busy"
          value={formatValue(busyShare(task), 'ratio')}
          note={`of ${formatDuration(task.gpu_held_seconds)} held`}
        />
        <Key name="Energy" value={formatValue(task.energy_wh, 'watt_hours')} />
        <Key name="CPU core time" value={formatDuration(task.cpu_core_seconds)} />
        <Key
          name="Cost"
          value={formatMoney(task.cost_micros, task.currency)}
          note={task.cost_micros === null ? 'not known: see below why' : ''}
        />
      </dl>
      <Facts task={task} />
      {task.error !== null && <TaskError error={task.error} />}
    </section>
  )
}

function Key({ name, value, note = '' }: { readonly name: string; readonly value: string; readonly note?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        {value} {note !== '' && <small class="muted">{note}</small>}
      </dd>
    </div>
  )
}

function Facts({ task }: { readonly task: TaskAttemptAnswer }) {
  const { attribution } = task
  const from = attribution.project_from
  const quotas = (level: QuotaLevel, name: string | null): string | undefined =>
    name === null || name === '' ? undefined : subjectLink(level, name)
  const result = task.result === null ? null : task.result ? 'succeeded' : 'failed'
  const facts: readonly (readonly [
    name: string,
    value: string | null,
    link?: string | undefined,
    quotas?: string | undefined,
  ])[] = [
    ['Task', task.task_id],
    ['Result', result ?? (task.ended_at === null ? 'not yet' : 'nobody told')],
    [
      'User',
      task.user_id,
      task.user_id === null ? undefined : tasksLink({ user: task.user_id }),
      quotas('user', task.user_id),
    ],
    [
      'Project',
      task.project,
      task.project === null ? undefined : tasksLink({ project: task.project }),
      quotas('project', task.project),
    ],
    ['Department', task.department, undefined, quotas('department', task.department)],
    ...(from === 'none'
      ? []
      : [['Known by', from === 'tag' ? 'a tag of its events' : 'a membership of the user'] as const]),
    ['Node', task.node_id, task.node_id === null ? undefined : tasksLink({ node: task.node_id })],
    ['Machine', task.vm_type],
    ['GPU model', task.gpu_model],
    ...(task.pod === null
      ? []
      : [['Pod', task.namespace === null ? task.pod : `${task.namespace}/${task.pod}`] as const]),
    ...(task.url === null ? [] : [['URL', task.url] as const]),
    ['Started', timeText(task.started_at)],
    ['Ended', timeText(task.ended_at)],
    ...Object.entries(task.tags).map(([name, value]) => [`Tag ${cut(name, 30)}`, value] as const),
  ]
  return (
    <dl class="facts">
      {facts.map(([name, value, link, quotas]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {link === undefined ? (
              <Name text={value} max={120} />
            ) : (
              <a href={link}>
                <Name text={value} max={80} />
              </a>
            )}
            {quotas !== undefined && (
              <a class="to-tasks" href={quotas}>
                quotas
              </a>
            )}
          </dd>
        </div>
      ))}
    </dl>
  )
}

function timeText(time: string | null): string | null {
  return time === null ? null : formatTime(Date.parse(time))
}

const ADVICE: Readonly<Record<Retry, string>> = {
  no: 'Trying the same again fails again: change what is said below first.',
  yes: 'Try it again.',
  later: 'Try it again when the quota allows.',
  backoff: 'Try it again after a while, and after a longer one each time.',
  maybe: 'Look at what it needs: with more of that, or asked for less, it may run.',
  smaller: 'Try it with less memory on the GPU: a smaller batch or context, or a GPU that has more.',
  bigger: 'Try it with more memory on the host.',
  other_node: 'Try it on another node, and have this one looked at.',
  other_image: 'Try it with an image whose driver and libraries fit this node.',
}

const PAYERS: Readonly<Record<Chargeable, string>> = {
  user: 'The user bears what it cost.',
  user_used_part: 'The user bears what it cost until then.',
  user_unverified: 'The user bears what it cost, until somebody proves otherwise.',
  platform: 'The platform bears what it cost.',
  nobody: 'Nobody is charged for it.',
}

/** Characters of an error's text that are shown at once, and at all. */
const TEXT_SHOWN = 600
const TEXT_MAX = 20_000

function TaskError({ error }: { readonly error: TaskErrorAnswer }) {
  const facts = Object.hasOwn(CATEGORIES, error.category) ? CATEGORIES[error.category as Category] : undefined
  const { text } = error
  return (
    <div class="task-error" role="note" aria-label="Why it failed">
      <p>
        <code class="bad">
          <Name text={error.category} />
        </code>{' '}
        <strong>{facts === undefined ? 'a category that this page does not know' : facts.means}</strong>{' '}
        <span class="muted">
          <Name text={error.type} />
        </span>
      </p>
      <p>
        {Object.hasOwn(ADVICE, error.retry) && ADVICE[error.retry as Retry]}{' '}
        <span class="muted">
          {Object.hasOwn(PAYERS, error.chargeable_to) && PAYERS[error.chargeable_to as Chargeable]}
        </span>
      </p>
      {text === '' ? <p class="muted">Nothing was said about it.</p> : <pre dir="auto">{cut(text, TEXT_SHOWN)}</pre>}
      {text.length > TEXT_SHOWN && (
        <details>
          <summary>The whole text</summary>
          <pre dir="auto">{cut(text, TEXT_MAX)}</pre>
        </details>
      )}
      <p class="muted">
        Decided by{' '}
        {error.matched === null ? (error.rule === 'none' ? 'nothing: no rule fits' : 'evidence') : 'the words '}
        {error.matched !== null && <Name text={error.matched.words} max={120} />}, rule <Name text={error.rule} />
      </p>
      {error.evidence.length > 0 && (
        <ul class="evidence">
          {error.evidence.map(({ kind, text: said }) => (
            <li key={`${kind} ${said}`}>
              <code>{cut(kind, 40)}</code> <Name text={said} max={200} />
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}
