/** A page of tasks: an attempt a row. On a phone who and where stand below its name. */
import type { TaskAnswer } from '../../tasks/task-answers.ts'
import { formatDuration, formatMoney, formatTime, formatValue, NONE } from './format.ts'
import { cut, Name, shortId } from './name.tsx'
import { taskLink } from './place.ts'
import { StateMark } from './task-state.tsx'
import { tasksLink } from './tasks-question.ts'

export function TasksTable({ tasks }: { readonly tasks: readonly TaskAnswer[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached from the keyboard
    <section class="scroll" tabIndex={0} aria-label="Tasks, the newest first">
      <table class="tasks">
        <thead>
          <tr>
            <th scope="col">Task</th>
            <th scope="col" class="wide">
              State, error
            </th>
            <th scope="col" class="wide">
              Model
            </th>
            <th scope="col" class="wide">
              User
            </th>
            <th scope="col" class="wide roomy">
              Project
            </th>
            <th scope="col" class="wide">
              Node
            </th>
            <th scope="col" class="wide figure">
              Started
            </th>
            <th scope="col" class="figure">
              Duration
            </th>
            <th scope="col" class="figure wide">
              GPU busy
            </th>
            <th scope="col" class="figure wide">
              Energy
            </th>
            <th scope="col" class="figure wide">
              Cost
            </th>
          </tr>
        </thead>
        <tbody>
          {tasks.map((task) => (
            <TaskRow key={`${task.attempt}\n${task.task_id}`} task={task} />
          ))}
        </tbody>
      </table>
    </section>
  )
}

function TaskRow({ task }: { readonly task: TaskAnswer }) {
  const { task_id, attempt, started_at, queued_at } = task
  const at = started_at ?? queued_at
  const about = task.provisional ? 'may still change' : undefined
  return (
    <tr>
      <th scope="row">
        <a href={taskLink(task_id, attempt)} title={task_id.length > 60 ? undefined : task_id}>
          <Name text={shortId(task_id)} max={24} />
        </a>
        {attempt > 1 && (
          <span class="muted" title={`attempt ${attempt}`}>
            {' '}
            #{attempt}
          </span>
        )}
        <span class="narrow">
          <StateMark state={task.state} />
          <span>
            <Name text={task.model} max={32} />
          </span>
          <span class="muted">
            {at === null ? NONE : formatTime(Date.parse(at))} · <Name text={task.user_id} max={20} /> ·{' '}
            <Name text={task.node_id} max={20} />
          </span>
          <span class="muted">
            {formatValue(busyShare(task), 'ratio')} busy · {formatValue(task.energy_wh, 'watt_hours')} ·{' '}
            {formatMoney(task.cost_micros, task.currency)}
          </span>
          {task.error_category !== null && <code class="error">{cut(task.error_category, 40)}</code>}
        </span>
      </th>
      <td class="wide">
        <StateMark state={task.state} />
        {task.error_category !== null && <code class="error">{cut(task.error_category, 40)}</code>}
      </td>
      <td class="wide">
        <Name text={task.model} max={32} />
      </td>
      <td class="wide name">
        <Name text={task.user_id} max={24} />
      </td>
      <td class="wide roomy name">
        <Name text={task.project} max={24} />
      </td>
      <td class="wide name">
        {task.node_id === null ? (
          <Name text={null} />
        ) : (
          <a href={tasksLink({ node: task.node_id })} title="Tasks of this node">
            <Name text={task.node_id} max={24} />
          </a>
        )}
      </td>
      <td class="wide figure" title={started_at === null && at !== null ? 'queued since' : undefined}>
        {at === null ? NONE : <time dateTime={at}>{formatTime(Date.parse(at))}</time>}
        {started_at === null && at !== null && <span class="muted"> queued</span>}
      </td>
      <td class="figure" title={about}>
        {formatDuration(task.duration_seconds)}
        {task.provisional && task.duration_seconds !== null && <span class="muted"> …</span>}
      </td>
      <td class="figure wide" title={about}>
        {formatValue(busyShare(task), 'ratio')}
      </td>
      <td class="figure wide" title={about}>
        {formatValue(task.energy_wh, 'watt_hours')}
      </td>
      <td class="figure wide" title={task.cost_micros === null ? 'no price fits, or it is not known how much' : about}>
        {formatMoney(task.cost_micros, task.currency)}
      </td>
    </tr>
  )
}

/** Of the time that GPUs were held; null where either is not known. */
export function busyShare({ gpu_busy_seconds: busy, gpu_held_seconds: held }: TaskAnswer): number | null {
  return busy === null || held === null || held <= 0 ? null : Math.round((busy / held) * 1000) / 1000
}
