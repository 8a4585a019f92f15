/** The overview: key figures, charts of fifteen minutes, who sends, which hosts. One question every five seconds. */
import { useMemo, useState } from 'preact/hooks'
import type { ChartAnswer, OverviewAnswer } from '../../overview/api.ts'
import type { ChartProps } from './chart.tsx'
import { Chart } from './chart.tsx'
import { counted, formatCount, formatValue } from './format.ts'
import { HostsTable } from './hosts-table.tsx'
import type { Polled } from './polling.ts'
import { usePolling } from './polling.ts'
import { doorName, SendersTable } from './senders-table.tsx'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'
import { Starting } from './starting.tsx'

const EVERY_MS = 5000

export interface OverviewViewProps {
  readonly credentials: Credentials
  /** Of the charts; undefined: all. */
  readonly host: string | undefined
  /** Told of every answer and failure. */
  readonly children: (polled: Polled<OverviewAnswer>) => preact.ComponentChildren
}

export function OverviewView({ credentials, host, children }: OverviewViewProps) {
  const polled = usePolling(JSON.stringify([credentials, host]), EVERY_MS, (signal) =>
    ask<OverviewAnswer>(credentials, 'v1/overview', host === undefined ? {} : { host }, signal),
  )
  const [shown, setShown] = useState(polled.data)
  // Another host's charts come with the next answer: until then the page stays as it is.
  if (polled.data !== undefined && polled.data !== shown) setShown(polled.data)
  const answer = polled.data ?? shown
  return (
    <main>
      {children(polled)}
      {answer === undefined ? (
        <Starting failed={polled.failure !== undefined} />
      ) : (
        <Shown answer={answer} host={host} onChoose={choose} />
      )}
    </main>
  )
}

function choose(host: string | undefined): void {
  location.hash = host === undefined ? '#/' : `#/?${new URLSearchParams({ host })}`
}

interface ShownProps {
  readonly answer: OverviewAnswer
  readonly host: string | undefined
  readonly onChoose: (host: string | undefined) => void
}

function Shown({ answer, host, onChoose }: ShownProps) {
  const now = Date.parse(answer.as_of)
  const { totals, senders, hosts } = answer
  return (
    <>
      <KeyFigures answer={answer} />
      {totals.senders + totals.hosts === 0 && <NothingYet />}
      <Charts answer={answer} host={host} onChoose={onChoose} />
      <SendersTable senders={senders} total={totals.senders} allTenants={answer.all_tenants} now={now} />
      <HostsTable hosts={hosts} total={totals.hosts} now={now} chosen={host} onChoose={onChoose} />
    </>
  )
}

function KeyFigures({ answer }: { readonly answer: OverviewAnswer }) {
  const { totals, hosts } = answer
  const watts = hosts.flatMap((host) => host.gpus.flatMap((gpu) => gpu.power_watts ?? []))
  const refused = totals.samples_refused + totals.requests_refused
  return (
    <dl class="key-figures card">
      <Figure name="Samples arriving" value={formatValue(totals.samples_per_second)} note="a second" />
      <Figure name="Series" value={formatValue(totals.series)} note="in memory" />
      <Figure name="Hosts" value={formatCount(totals.hosts)} note={counted(totals.senders, 'sender')} />
      <Figure
        name="GPUs"
        value={formatCount(totals.gpus)}
        note={
          watts.length === 0
            ? ''
            : `${formatValue(
                watts.reduce((a, b) => a + b, 0),
                'watts',
              )} now`
        }
      />
      <Figure
        name="Refused"
        value={formatCount(refused)}
        note="samples and requests, 15 min"
        state={refused > 0 ? 'warn' : 'ok'}
      />
    </dl>
  )
}

interface FigureProps {
  readonly name: string
  readonly value: string
  readonly note: string
  readonly state?: 'ok' | 'warn'
}

function Figure({ name, value, note, state }: FigureProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd class={state ?? ''}>
        {value} <small class="muted">{note}</small>
      </dd>
    </div>
  )
}

function Charts({ answer, host, onChoose }: ShownProps) {
  const { charts } = answer
  const times = useMemo(() => {
    const start = Date.parse(charts.start) / 1000
    const count = Math.max(0, ...chartsOf(answer).map(({ lines }) => lines[0]?.values.length ?? 0))
    return Array.from({ length: count }, (_, i) => start + i * charts.step_seconds)
  }, [answer])
  const common = { times, sync: 'overview' }
  const noGpus =
    'No GPU figures yet: they come from hosts with nvidia-smi or amd-smi, or from a Prometheus that scrapes dcgm-exporter.'
  const where = host === undefined ? '' : `, ${host}`
  return (
    <section aria-label={`Charts of the last 15 minutes${where}`}>
      <header class="section bare">
        <h2>Last 15 minutes{where}</h2>
        {host !== undefined && (
          <button type="button" onClick={() => onChoose(undefined)}>
            Show all hosts
          </button>
        )}
      </header>
      <div class="charts">
        <Chart
          {...common}
          title="Samples arriving"
          note="by protocol"
          unit="number"
          perSecond
          lines={useMemo(
            () => charts.samples_per_second.lines.map(({ name, values }) => ({ name: doorName(name), values })),
            [charts],
          )}
          empty="No collector has said yet what it takes."
        />
        <Chart {...common} {...ratio(charts.cpu_used_ratio, 'hosts')} title="CPU busy" empty="No CPU figures yet." />
        <Chart
          {...common}
          {...ratio(charts.memory_used_ratio, 'hosts')}
          title="Memory used"
          empty="No memory figures yet."
        />
        <Chart {...common} {...ratio(charts.gpu_utilization_ratio, 'GPUs')} title="GPU utilisation" empty={noGpus} />
        <Chart {...common} {...drawn(charts.gpu_power_watts, 'GPUs')} unit="watts" title="GPU power" empty={noGpus} />
      </div>
    </section>
  )
}

function chartsOf({ charts }: OverviewAnswer): ChartAnswer[] {
  return [
    charts.samples_per_second,
    charts.cpu_used_ratio,
    charts.memory_used_ratio,
    charts.gpu_utilization_ratio,
    charts.gpu_power_watts,
  ]
}

function drawn({ of, summary, lines }: ChartAnswer, what: string): Pick<ChartProps, 'lines' | 'note'> {
  return { lines, note: summary ? `across ${of} ${what}` : '' }
}

function ratio(answer: ChartAnswer, what: string): Pick<ChartProps, 'lines' | 'note' | 'unit' | 'max'> {
  return { ...drawn(answer, what), unit: 'ratio', max: 1 }
}

function NothingYet() {
  return (
    <section class="card nothing-yet">
      <h2>Nothing has arrived yet</h2>
      <p>Samples come in through a collector. Start one on a host, which samples that host itself:</p>
      <pre>
        <code>npm run collector</code>
      </pre>
      <p>Or let a Prometheus write to it, in prometheus.yml:</p>
      <pre>
        <code>{'remote_write:\n  - url: http://127.0.0.1:8742/api/v1/write'}</code>
      </pre>
    </section>
  )
}
