/** A task's window as charts: one for each of its figures that samples stand behind. */
import { useMemo } from 'preact/hooks'
import type { TaskAttemptAnswer, WindowAnswer } from '../../tasks/task-answers.ts'
import { Chart } from './chart.tsx'
import { formatTime } from './format.ts'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import type { ChartGroup, ChartTimes } from './task-chart-question.ts'
import { askChart, groupsOf, timesOf, unitShown } from './task-chart-question.ts'
import { figureName } from './task-figures.tsx'

/** While its figures may change, and after. */
const LIVE_MS = 15_000
const QUIET_MS = 600_000
/** How long a sample holds at most where its sender is slow, s. */
const HOLD_S = 25
const ORDER = ['gpu_utilization_ratio', 'gpu_memory_used_bytes', 'gpu_power_watts', 'gpu_energy_watts', 'cpu_cores']

interface TaskChartsProps {
  readonly credentials: Credentials
  readonly task: TaskAttemptAnswer
}

export function TaskCharts({ credentials, task }: TaskChartsProps) {
  const { window, charts } = task
  if (window === null) return null
  const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length)
  const sorted = groupsOf(charts).sort((a, b) => place(a.name) - place(b.name))
  return (
    <section aria-label="Charts of its window">
      <header class="section bare">
        <h2>Its window</h2>
        <span class="muted">
          {formatTime(Date.parse(window.from))} to {formatTime(Date.parse(window.to))}
          {window.open ? ', and on' : ''}; shaded is the time around it
        </span>
      </header>
      {sorted.length === 0 && <p class="card empty">There are no series of its node to draw.</p>}
      <div class="charts pairs">
        {sorted.map((group) => (
          <OneChart
            key={`${group.name} ${group.metric}`}
            credentials={credentials}
            group={group}
            window={window}
            provisional={task.provisional}
          />
        ))}
      </div>
    </section>
  )
}

interface OneChartProps {
  readonly credentials: Credentials
  readonly group: ChartGroup
  readonly window: WindowAnswer
  readonly provisional: boolean
}

function OneChart({ credentials, group, window, provisional }: OneChartProps) {
  const { from, to, open } = window
  const { name, metric, counter } = group
  const span = useMemo(() => timesOf({ from, to, open }, counter), [from, to, open, counter])
  const polled = usePolling(
    JSON.stringify([credentials, name, metric, from]),
    provisional ? LIVE_MS : QUIET_MS,
    (signal) => askChart(credentials, group, span, signal),
  )
  return <Drawn group={group} span={span} answer={polled.data} problem={polled.failure?.message} />
}

interface DrawnProps {
  readonly group: ChartGroup
  readonly span: ChartTimes
  readonly answer: Awaited<ReturnType<typeof askChart>> | undefined
  readonly problem: string | undefined
}

function Drawn({ group, span, answer, problem }: DrawnProps) {
  const { unit, perSecond } = unitShown(group.unit)
  return (
    <Chart
      title={figureName(group.name)}
      note={answer?.note || group.metric}
      unit={unit}
      perSecond={perSecond}
      {...(unit === 'ratio' ? { max: 1 } : {})}
      times={answer?.times ?? span.times}
      lines={answer?.lines ?? []}
      span={span}
      bridgedSteps={Math.max(5, Math.ceil(HOLD_S / span.step))}
      sync="task"
      empty={problem ?? (answer === undefined ? 'Loading …' : `No samples of ${group.metric} in this time.`)}
    />
  )
}
