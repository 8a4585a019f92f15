/** The events that all of it follows from, as they came. Asked for when somebody wants to see them. */
import { useState } from 'preact/hooks'
import type { TaskAttemptAnswer } from '../../tasks/task-answers.ts'
import { formatTime } from './format.ts'
import { cut, Name } from './name.tsx'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

/** An entry of `GET /v1/events`. */
interface EventAnswer {
  readonly received_at: string
  readonly road: string
  readonly event: Readonly<Record<string, unknown>>
}

const ONCE_MS = 3_600_000
/** Of a task there are no more that its figures follow from. */
const EVENTS_MAX = '200'
/** Characters of one event that are shown. */
const JSON_MAX = 20_000

interface TaskEventsProps {
  readonly credentials: Credentials
  readonly task: TaskAttemptAnswer
}

export function TaskEvents({ credentials, task }: TaskEventsProps) {
  const [open, setOpen] = useState(false)
  return (
    <section class="card" aria-labelledby="events-title">
      <details onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <h2 id="events-title">Events</h2> <span class="muted">{task.event_ids.length} that it follows from</span>
        </summary>
        {open && <EventList credentials={credentials} task={task} />}
      </details>
    </section>
  )
}

function EventList({ credentials, task }: TaskEventsProps) {
  const { task_id, event_ids } = task
  // Once more where it follows from more.
  const { data, failure } = usePolling(JSON.stringify([credentials, task_id, event_ids.length]), ONCE_MS, (signal) =>
    ask<{ readonly data: readonly EventAnswer[] }>(credentials, 'v1/events', { task_id, limit: EVENTS_MAX }, signal),
  )
  if (data === undefined && failure === undefined) return <p class="empty">Loading …</p>
  const known = new Map(data?.data.map((answer) => [answer.event['event_id'], answer]))
  return (
    <>
      {failure !== undefined && <p class="problem empty">{cut(failure.message, 300)}</p>}
      <ol class="events">
        {event_ids.map((id) => {
          const answer = known.get(id)
          return (
            <li key={id}>
              {answer === undefined ? <OfNode credentials={credentials} id={id} /> : <Known answer={answer} />}
            </li>
          )
        })}
      </ol>
    </>
  )
}

/** It does not name the task: what happened on its node, such as weights that were loaded. Asked for when it is opened. */
function OfNode({ credentials, id }: { readonly credentials: Credentials; readonly id: string }) {
  const [open, setOpen] = useState(false)
  return open ? (
    <Asked credentials={credentials} id={id} />
  ) : (
    <button type="button" class="link" onClick={() => setOpen(true)}>
      <code>
        <Name text={id} />
      </code>{' '}
      <span class="muted">of its node</span>
    </button>
  )
}

function Asked({ credentials, id }: { readonly credentials: Credentials; readonly id: string }) {
  const { data, failure } = usePolling(JSON.stringify([credentials, id]), ONCE_MS, (signal) =>
    ask<EventAnswer>(credentials, `v1/events/${encodeURIComponent(id)}`, {}, signal),
  )
  if (data !== undefined) return <Known answer={data} open />
  return failure === undefined ? (
    <span class="muted">Loading …</span>
  ) : (
    <span class="bad">{cut(failure.message, 300)}</span>
  )
}

function Known({ answer, open = false }: { readonly answer: EventAnswer; readonly open?: boolean }) {
  const { event, received_at, road } = answer
  const text = (key: string): string => (typeof event[key] === 'string' ? event[key] : '')
  return (
    <details open={open}>
      <summary>
        <code>{cut(text('event_type'), 60)}</code> <time>{formatTime(Date.parse(text('timestamp')))}</time>{' '}
        <span class="muted">
          <Name text={text('source')} max={40} />, arrived {formatTime(Date.parse(received_at))} by {cut(road, 20)}
        </span>
      </summary>
      <pre dir="ltr">{cut(JSON.stringify(event, null, 2), JSON_MAX)}</pre>
    </details>
  )
}
