/** One task: how it is, what it went through, what it used, what that costs, and the events that all of it follows from. */
import type { TaskDetailAnswer } from '../../tasks/task-answers.ts'
import { cut, Name } from './name.tsx'
import { taskLink } from './place.ts'
import type { Polled } from './polling.ts'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'
import { Starting } from './starting.tsx'
import { TaskCharts } from './task-charts.tsx'
import { TaskCost } from './task-cost.tsx'
import { TaskEvents } from './task-events.tsx'
import { TaskFigures } from './task-figures.tsx'
import { TaskHead } from './task-head.tsx'
import { TaskStages } from './task-stages.tsx'
import { StateMark } from './task-state.tsx'

/** While something may change, and after. */
const LIVE_MS = 5000
const QUIET_MS = 60_000

export interface TaskViewProps {
  readonly credentials: Credentials
  readonly taskId: string
  /** undefined: the last one. */
  readonly attempt: number | undefined
  /** Told of every answer and failure. */
  readonly children: (polled: Polled<TaskDetailAnswer>) => preact.ComponentChildren
}

export function TaskView({ credentials, taskId, attempt, children }: TaskViewProps) {
  const polled = usePolling(JSON.stringify([credentials, taskId]), pauseAfter, (signal) =>
    ask<TaskDetailAnswer>(credentials, `v1/tasks/${encodeURIComponent(taskId)}`, {}, signal),
  )
  return (
    <main>
      {children(polled)}
      <p class="above">
        <a href="#/tasks">Tasks</a> <span aria-hidden="true">›</span> <Name text={taskId} max={80} />
      </p>
      {polled.data === undefined ? (
        <Starting failed={polled.failure !== undefined} />
      ) : (
        <Shown credentials={credentials} answer={polled.data} attempt={attempt} />
      )}
    </main>
  )
}

function pauseAfter({ attempts }: TaskDetailAnswer): number {
  return attempts.some(({ provisional }) => provisional) ? LIVE_MS : QUIET_MS
}

interface ShownProps {
  readonly credentials: Credentials
  readonly answer: TaskDetailAnswer
  readonly attempt: number | undefined
}

function Shown({ credentials, answer, attempt }: ShownProps) {
  const { attempts, task_id } = answer
  const task = attempt === undefined ? attempts.at(-1) : attempts.find((one) => one.attempt === attempt)
  return (
    <>
      {attempts.length > 1 && (
        <nav class="attempts" aria-label="Attempts">
          {attempts.map((one) => (
            <a
              key={one.attempt}
              href={taskLink(task_id, one.attempt)}
              aria-current={one.attempt === task?.attempt ? 'page' : undefined}
            >
              Attempt {one.attempt} <StateMark state={one.state} />
            </a>
          ))}
        </nav>
      )}
      {task === undefined ? (
        <p class="card empty">
          Task {cut(task_id, 60)} has no attempt {attempt}. <a href={taskLink(task_id)}>Show its last one</a>
        </p>
      ) : (
        <>
          <TaskHead task={task} />
          <TaskStages task={task} />
          <TaskFigures task={task} />
          <TaskCharts key={task.attempt} credentials={credentials} task={task} />
          <TaskCost task={task} />
          <TaskEvents key={`events ${task.attempt}`} credentials={credentials} task={task} />
        </>
      )}
    </>
  )
}
