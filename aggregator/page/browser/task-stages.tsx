/** What a task went through, on one line of time; what nobody told of, and what was assumed. */
import type { AssumptionAnswer, StageAnswer, TaskAttemptAnswer } from '../../tasks/task-answers.ts'
import { formatDuration, formatTime, NONE } from './format.ts'
import { cut } from './name.tsx'

type Kind = StageAnswer['stage'] | 'gap' | 'ended'

interface Row {
  readonly kind: Kind
  readonly name: string
  /** ms; undefined: nobody told. */
  readonly from: number | undefined
  readonly to: number | undefined
  readonly seconds: number | null
  readonly note: string
}

const NAMES: Readonly<Record<StageAnswer['stage'], string>> = {
  queued: 'Queued',
  pod: 'Pod',
  loading: 'Loading',
  running: 'Running',
}

export function TaskStages({ task }: { readonly task: TaskAttemptAnswer }) {
  const rows = rowsOf(task)
  const end = Date.parse(task.ended_at ?? task.window?.to ?? task.updated_at)
  const times = [...rows.flatMap(({ from, to }) => [from, to]), end].filter((time) => time !== undefined)
  const [first, last] = [Math.min(...times), Math.max(...times)]
  return (
    <section class="card" aria-labelledby="stages-title">
      <header class="section">
        <h2 id="stages-title">Stages</h2>
        <span class="muted">
          {rows.length > 0 && `${formatTime(first)} to ${formatTime(last)}, ${formatDuration((last - first) / 1000)}`}
        </span>
      </header>
      {rows.length === 0 ? (
        <p class="empty">Nobody told of any stage.</p>
      ) : (
        <table class="stages">
          <caption class="visually-hidden">Stages in the order of time</caption>
          <thead class="visually-hidden">
            <tr>
              <th scope="col">Stage</th>
              <th scope="col">From</th>
              <th scope="col">On the line of time</th>
              <th scope="col">How long</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <StageRow key={`${row.kind} ${row.from} ${row.to}`} row={row} first={first} last={last} />
            ))}
          </tbody>
        </table>
      )}
      <Assumptions assumptions={task.assumptions} />
    </section>
  )
}

function rowsOf({ stages, ended_at, state }: TaskAttemptAnswer): Row[] {
  const told = stages.map(
    ({ stage, from, to, seconds, ok }): Row => ({
      kind: stage,
      name: NAMES[stage],
      from: from === null ? undefined : Date.parse(from),
      to: to === null ? undefined : Date.parse(to),
      seconds,
      note: [
        ok === false ? 'failed' : '',
        from === null ? 'start not told' : '',
        to === null ? (ended_at === null ? 'goes on' : 'end not told') : '',
      ]
        .filter((part) => part !== '')
        .join(', '),
    }),
  )
  const rows = [...told, ...gapsBetween(told)].sort((a, b) => (a.from ?? a.to ?? 0) - (b.from ?? b.to ?? 0))
  if (ended_at === null) return rows
  const at = Date.parse(ended_at)
  return [...rows, { kind: 'ended', name: 'Ended', from: at, to: at, seconds: null, note: state }]
}

/** Shorter ones are the clocks of services, s. */
const GAP_MIN_MS = 1000

/** Between two stages, when nobody says what went on. */
function gapsBetween(told: readonly Row[]): Row[] {
  const spans = told
    .flatMap(({ from, to }) => (from === undefined ? [] : [{ from, to: to ?? Number.POSITIVE_INFINITY }]))
    .sort((a, b) => a.from - b.from)
  const gaps: Row[] = []
  let until = spans[0]?.to ?? Number.POSITIVE_INFINITY
  for (const { from, to } of spans) {
    if (from - until >= GAP_MIN_MS) {
      const seconds = (from - until) / 1000
      gaps.push({ kind: 'gap', name: 'Between', from: until, to: from, seconds, note: 'nobody told' })
    }
    until = Math.max(until, to)
  }
  return gaps
}

interface StageRowProps {
  readonly row: Row
  readonly first: number
  readonly last: number
}

const WIDTH = 1000

function StageRow({ row, first, last }: StageRowProps) {
  const { kind, name, from, to, seconds, note } = row
  const at = (time: number): number => (last > first ? ((time - first) / (last - first)) * (WIDTH - 6) : 0)
  const begin = at(from ?? first)
  const isOpen = from === undefined || to === undefined
  return (
    <tr class={kind}>
      <th scope="row">{name}</th>
      <td class="figure wide">{from === undefined ? NONE : formatTime(from)}</td>
      <td class="line">
        <svg viewBox={`0 0 ${WIDTH} 12`} preserveAspectRatio="none" aria-hidden="true">
          <rect class="bar-all" width={WIDTH} height="12" />
          <rect
            class={`stage-bar ${kind} ${isOpen ? 'open' : ''}`}
            x={begin}
            width={Math.max(6, at(to ?? last) - begin)}
            height="12"
          />
        </svg>
      </td>
      <td class="figure">{kind === 'ended' ? note : formatDuration(seconds)}</td>
      <td class={note === 'failed' ? 'bad' : 'muted'}>{kind === 'ended' ? '' : note}</td>
    </tr>
  )
}

function Assumptions({ assumptions }: { readonly assumptions: readonly AssumptionAnswer[] }) {
  if (assumptions.length === 0) return null
  return (
    <div class="assumptions">
      <h3>What was assumed</h3>
      <ul>
        {assumptions.map(({ flag, sentence }) => (
          <li key={flag}>
            {cut(sentence, 400)} <code class="muted">{cut(flag, 60)}</code>
          </li>
        ))}
      </ul>
    </div>
  )
}
