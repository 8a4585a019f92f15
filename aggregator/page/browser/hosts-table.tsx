/** Which hosts are there, each with its GPUs: how busy, how full, how fresh. A host is chosen for the charts above. */
import { Fragment } from 'preact'
import { useState } from 'preact/hooks'
import type { GpuAnswer, HostAnswer } from '../../overview/api.ts'
import { counted, formatAge, formatValue } from './format.ts'
import { tasksLink } from './tasks-question.ts'

const FRESH_MS = 60_000
const LATE_MS = 180_000
/** More GPUs than these are shown where they are asked for. */
const GPUS_OPEN_MAX = 32

export interface HostsTableProps {
  readonly hosts: readonly HostAnswer[]
  /** How many there are, shown or not. */
  readonly total: number
  /** The server's clock, ms. */
  readonly now: number
  /** Of the charts; undefined: all. */
  readonly chosen: string | undefined
  readonly onChoose: (host: string | undefined) => void
}

export function HostsTable({ hosts, total, now, chosen, onChoose }: HostsTableProps) {
  const gpus = hosts.reduce((n, host) => n + host.gpus.length, 0)
  /** Hosts that are not as they are at first: closed, or opened where there are many. */
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set())
  const isOpen = (host: string): boolean => toggled.has(host) !== gpus <= GPUS_OPEN_MAX
  const toggle = (host: string): void => {
    const next = new Set(toggled)
    if (!next.delete(host)) next.add(host)
    setToggled(next)
  }
  return (
    <section class="card" aria-labelledby="hosts-title">
      <header class="section">
        <h2 id="hosts-title">Hosts and GPUs</h2>
        <span class="muted">
          {hosts.length < total && `${hosts.length} of `}
          {counted(total, 'host')}, {counted(gpus, 'GPU')}, heard from in 15 min
        </span>
      </header>
      <div class="scroll">
        <table class="hosts">
          <thead>
            <tr>
              <th scope="col">Host</th>
              <th scope="col">GPUs</th>
              <th scope="col" class="figure">
                Busy
              </th>
              <th scope="col" class="figure">
                Memory
              </th>
              <th scope="col" class="figure wide">
                Load
              </th>
              <th scope="col" class="figure wide">
                Power
              </th>
              <th scope="col" class="figure wide">
                Temp.
              </th>
              <th scope="col" class="figure">
                Last sample
              </th>
            </tr>
          </thead>
          <tbody>
            {hosts.map((host) => (
              <Fragment key={host.host}>
                <HostRow
                  host={host}
                  now={now}
                  chosen={chosen === host.host}
                  onChoose={onChoose}
                  open={isOpen(host.host)}
                  onToggle={toggle}
                />
                {isOpen(host.host) &&
                  host.gpus.map((gpu) => <GpuRow key={`${host.host}\n${gpu.uuid}\n${gpu.gpu}`} gpu={gpu} now={now} />)}
              </Fragment>
            ))}
          </tbody>
        </table>
        {hosts.length === 0 && (
          <p class="empty">
            No host has sent figures: a collector samples its own, node_exporter and dcgm-exporter those of others.
          </p>
        )}
      </div>
    </section>
  )
}

interface HostRowProps {
  readonly host: HostAnswer
  readonly now: number
  readonly chosen: boolean
  readonly onChoose: (host: string | undefined) => void
  readonly open: boolean
  readonly onToggle: (host: string) => void
}

function HostRow({ host, now, chosen, onChoose, open, onToggle }: HostRowProps) {
  const power = host.gpus.reduce<number | null>(
    (sum, gpu) => (gpu.power_watts === null ? sum : (sum ?? 0) + gpu.power_watts),
    null,
  )
  return (
    <tr class="host">
      <th scope="row">
        <Freshness at={host.last_seen} now={now} />
        <button
          type="button"
          class="link"
          aria-pressed={chosen}
          title={chosen ? 'Charts of all hosts' : 'Charts of this host'}
          onClick={() => onChoose(chosen ? undefined : host.host)}
        >
          {host.host}
        </button>
        <a class="to-tasks" href={tasksLink({ node: host.host })} aria-label={`Tasks on ${host.host}`}>
          tasks
        </a>
      </th>
      <td>
        {host.gpus.length > 0 && (
          <button
            type="button"
            class="strip"
            aria-expanded={open}
            aria-label={`${host.gpus.length} GPUs of ${host.host}`}
            onClick={() => onToggle(host.host)}
          >
            <Strip gpus={host.gpus} /> {host.gpus.length}
            <svg class="arrow" viewBox="0 0 8 8" aria-hidden="true">
              <path d="M2 1l3.5 3L2 7" />
            </svg>
          </button>
        )}
      </td>
      <Meter ratio={host.cpu_used_ratio} title={host.processors === null ? '' : `of ${host.processors} processors`} />
      <Meter
        ratio={shareOf(host.memory_used_bytes, host.memory_total_bytes)}
        title={bytesOf(host.memory_used_bytes, host.memory_total_bytes)}
      />
      <td class="figure wide">{formatValue(host.load1)}</td>
      <td class="figure wide">{host.gpus.length > 0 && formatValue(power, 'watts')}</td>
      <td class="figure wide" title="the hottest">
        {host.gpus.length > 0 && formatValue(hottest(host.gpus), 'celsius')}
      </td>
      <LastSample at={host.last_seen} now={now} />
    </tr>
  )
}

function GpuRow({ gpu, now }: { gpu: GpuAnswer; now: number }) {
  return (
    <tr class="gpu">
      <th scope="row" title={gpu.uuid}>
        GPU {gpu.gpu}
      </th>
      <td>
        <span class="muted wide">{gpu.model.replace(/^NVIDIA /, '')}</span>
      </td>
      <Meter ratio={gpu.utilization_ratio} title="GPU utilisation" />
      <Meter
        ratio={shareOf(gpu.memory_used_bytes, gpu.memory_total_bytes)}
        title={bytesOf(gpu.memory_used_bytes, gpu.memory_total_bytes)}
      />
      <td class="figure wide" />
      <td class="figure wide">{formatValue(gpu.power_watts, 'watts')}</td>
      <td class="figure wide">{formatValue(gpu.temperature_celsius, 'celsius')}</td>
      <LastSample at={gpu.last_seen} now={now} />
    </tr>
  )
}

/** How busy each GPU of a host is, side by side. */
function Strip({ gpus }: { readonly gpus: readonly GpuAnswer[] }) {
  return (
    <svg class="gpus" width={gpus.length * 6} height="16" aria-hidden="true">
      {gpus.map(({ uuid, gpu, utilization_ratio: ratio }, i) => {
        const height = 16 * Math.min(1, Math.max(0, ratio ?? 0))
        return (
          <Fragment key={`${uuid}\n${gpu}`}>
            <rect class="bar-all" x={i * 6} width="4" height="16" />
            <rect class="bar-used" x={i * 6} y={16 - height} width="4" height={height} />
          </Fragment>
        )
      })}
    </svg>
  )
}

function hottest(gpus: readonly GpuAnswer[]): number | null {
  return gpus.reduce<number | null>(
    (most, { temperature_celsius: t }) => (t === null ? most : Math.max(most ?? t, t)),
    null,
  )
}

function shareOf(used: number | null, total: number | null): number | null {
  return used === null || total === null || total === 0 ? null : used / total
}

function bytesOf(used: number | null, total: number | null): string {
  return `${formatValue(used, 'bytes')} of ${formatValue(total, 'bytes')}`
}

/** A share as a number with a bar; the bar says nothing that the number does not. */
function Meter({ ratio, title }: { readonly ratio: number | null; readonly title: string }) {
  return (
    <td class="figure meter" title={title}>
      {ratio !== null && (
        <svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
          <rect class="bar-all" width="100" height="4" />
          <rect class="bar-used" width={100 * Math.min(1, Math.max(0, ratio))} height="4" />
        </svg>
      )}
      <span class="share">{formatValue(ratio === null ? null : Math.round(ratio * 100) / 100, 'ratio')}</span>
    </td>
  )
}

type FreshnessOf = { readonly at: string; readonly now: number }

function stateOf({ at, now }: FreshnessOf): 'fresh' | 'late' | 'silent' {
  const age = now - Date.parse(at)
  if (age <= FRESH_MS) return 'fresh'
  return age <= LATE_MS ? 'late' : 'silent'
}

function Freshness(props: FreshnessOf) {
  return <span class={`dot ${stateOf(props)}`} aria-hidden="true" />
}

function LastSample(props: FreshnessOf) {
  const state = stateOf(props)
  return (
    <td class={`figure ${state === 'fresh' ? '' : state === 'late' ? 'warn' : 'bad'}`}>
      {formatAge(Date.parse(props.at), props.now)}
    </td>
  )
}
