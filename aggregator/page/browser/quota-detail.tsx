/** One quota of a subject in full: figures, what was used in its period against the limit, where that leads to, and its definition. */
import type { Quota } from '../../directory/quota.ts'
import type { FigureAnswer } from '../../quotas/api.ts'
import type { ChartLine } from './chart.tsx'
import { Chart } from './chart.tsx'
import { formatTime, formatValue, NONE } from './format.ts'
import { cut } from './name.tsx'
import { usePolling } from './polling.ts'
import { amountText, exactText, measureOf, resourceName } from './quota-amount.ts'
import type { Forecast } from './quota-forecast.ts'
import { forecastOf } from './quota-forecast.ts'
import type { QuotaHistory, Step } from './quota-history.ts'
import { askHistory } from './quota-history.ts'
import { QuotaBar, QuotaState, shareOf } from './quota-state.tsx'
import type { QuotaLevel } from './quotas-question.ts'
import { Enforcement, resetText, windowText } from './quotas-table.tsx'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

const DEFINITION_MS = 60_000
const HISTORY_MS = 30_000
/** What is held and given back, and never counted. */
const GAUGE = 'concurrent_tasks'

interface QuotaDetailProps {
  readonly credentials: Credentials
  readonly level: QuotaLevel
  readonly figure: FigureAnswer
  /** When the figure was of, s. */
  readonly now: number
}

export function QuotaDetail({ credentials, level, figure, now }: QuotaDetailProps) {
  const { quota, resource } = figure
  const definition = usePolling(JSON.stringify([credentials, quota]), DEFINITION_MS, (signal) =>
    ask<Quota>(credentials, `v1/quotas/${encodeURIComponent(quota)}`, {}, signal),
  )
  return (
    <section class="card task-head" aria-labelledby="quota-title">
      <header>
        <h2 id="quota-title">
          {resourceName(resource)}
          {definition.data !== undefined && ` in ${windowText(definition.data)}`}
        </h2>
        <QuotaState state={figure.state} />
        <span class="muted">
          <Enforcement of={figure} />
        </span>
      </header>
      <KeyFigures figure={figure} />
      <div class="quota-whole">
        <QuotaBar figure={figure} />
      </div>
      {definition.data === undefined
        ? definition.failure !== undefined && (
            <p class="why warn">Its definition is not known: {definition.failure.message}</p>
          )
        : resource !== GAUGE && (
            <History
              key={JSON.stringify([
                quota,
                figure.period_from === null || figure.window === 'rolling' ? '' : figure.period_from,
              ])}
              credentials={credentials}
              level={level}
              figure={figure}
              definition={definition.data}
              now={now}
            />
          )}
      {resource === GAUGE && <p class="why muted">It is held and given back, never counted: there is no history.</p>}
      {definition.data !== undefined && <Facts definition={definition.data} />}
    </section>
  )
}

function KeyFigures({ figure }: { readonly figure: FigureAnswer }) {
  const { resource, used, held, leased, in_doubt, left, limit, resets_at, window } = figure
  const share = shareOf(figure)
  const keys = [
    ['Used', used, used === null ? 'could not be counted' : ''],
    ['Held', held, 'reserved, not settled'],
    ...(Number(leased) > 0 ? [['Lent', leased, lentNote(resource, in_doubt)] as const] : []),
    ['Left', left, used === null || !Number.isFinite(share) ? '' : `${formatValue(share, 'ratio')} used or held`],
    ['Limit', limit, ''],
  ] as const
  return (
    <dl class="key-figures">
      {keys.map(([name, amount, note]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd title={exactText(resource, amount)}>
            {amountText(resource, amount)} {note !== '' && <small class="muted">{note}</small>}
          </dd>
        </div>
      ))}
      <div>
        <dt>Resets</dt>
        <dd class="time">
          {resetText(figure)}{' '}
          {window === 'rolling' && resets_at !== null && (
            <small class="muted">the oldest quarter of an hour leaves</small>
          )}
        </dd>
      </div>
    </dl>
  )
}

function lentNote(resource: string, inDoubt: string): string {
  return Number(inDoubt) > 0
    ? `to collectors, ${amountText(resource, inDoubt)} of it to ones not heard of`
    : 'to collectors'
}

interface HistoryProps extends QuotaDetailProps {
  readonly definition: Quota
}

function History({ credentials, level, figure, definition, now }: HistoryProps) {
  const polled = usePolling(
    JSON.stringify([credentials, level, figure.quota, figure.subject]),
    HISTORY_MS,
    (signal) => {
      const question = { level, figure, seconds: definition.seconds, now: Date.now() / 1000 }
      return askHistory(credentials, question, signal)
    },
  )
  const { data, failure } = polled
  const forecast = forecastOf(figure, data?.first, now)
  const { unit } = measureOf(figure.resource)
  const drawn = data === undefined ? undefined : drawnOf(figure, definition, data, forecast)
  return (
    <>
      {forecast !== undefined && <ForecastText figure={figure} forecast={forecast} now={now} />}
      <Chart
        title={TITLES[figure.window] ?? 'Used in its period'}
        note={data === undefined ? '' : noteOf(data)}
        unit={unit}
        times={drawn?.times ?? []}
        lines={drawn?.lines ?? []}
        max={(Number(figure.limit) / measureOf(figure.resource).per) * 1.05}
        height={240}
        empty={failure?.message ?? 'Loading …'}
      />
      {failure !== undefined && data !== undefined && <p class="why warn">No newer history: {failure.message}</p>}
    </>
  )
}

const TITLES: Partial<Record<FigureAnswer['window'], string>> = {
  rolling: 'What its window held',
  lifetime: 'Used until now',
}
const STEP_NAMES: Readonly<Record<Step, string>> = { slot: 'quarters of an hour', hour: 'hours', day: 'days' }

function noteOf({ step, cut: isCut, first }: QuotaHistory): string {
  if (isCut) return 'there is more than can be shown: the line is too low'
  return first === undefined ? 'nothing was used in this time' : `by ${STEP_NAMES[step]}, your time`
}

function ForecastText({ figure, forecast, now }: { figure: FigureAnswer; forecast: Forecast; now: number }) {
  const { rate, from, to, overAt } = forecast
  const { resource, limit } = figure
  const atEnd = rate * (to - from)
  return (
    <p class="forecast">
      <strong class={overAt === undefined ? '' : 'warn'}>
        {overAt === undefined
          ? 'At this rate it lasts the period'
          : `At this rate over the limit on ${dayText(overAt)}`}
      </strong>
      {overAt === undefined &&
        `: ${amountText(resource, atEnd)}, ${formatValue(atEnd / Number(limit), 'ratio')} of the limit, at its end`}
      .{' '}
      <span class="muted">
        A straight line through what was used from {dayText(from)} to {dayText(now)}: no more than that, and without
        what is held.
      </span>
    </p>
  )
}

function dayText(seconds: number): string {
  return new Date(seconds * 1000).toLocaleString('en-GB', {
    weekday: 'short',
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
  })
}

/** Colours and dashes of the lines. */
const LOOKS = { used: 0, limit: 1, rate: 5, thresholds: [4, 6, 7] } as const
/** How far above the limit a forecast is drawn. */
const ROOM = 1.2

function drawnOf(
  figure: FigureAnswer,
  definition: Quota,
  { points }: QuotaHistory,
  forecast: Forecast | undefined,
): { readonly times: readonly number[]; readonly lines: readonly ChartLine[] } {
  const { per } = measureOf(figure.resource)
  const limit = Number(figure.limit)
  const last = points.at(-1)
  const ends =
    last === undefined || figure.window === 'rolling' ? [] : endsOf(limit, forecast, last[0], secondsOf(figure))
  const times = [...points.map(([time]) => time), ...ends]
  const level = (name: string, amount: number, look: number): ChartLine => ({
    name,
    look,
    values: times.map(() => amount / per),
  })
  const lines: ChartLine[] = [
    {
      name: 'Used',
      look: LOOKS.used,
      values: times.map((_, i) => (points[i] === undefined ? null : points[i][1] / per)),
    },
    level('Limit', limit, LOOKS.limit),
    ...definition.thresholds
      .filter((percent) => percent !== 100)
      .slice(0, LOOKS.thresholds.length)
      .map((percent, i) => level(`${percent} %`, (limit * percent) / 100, LOOKS.thresholds[i]!)),
  ]
  if (forecast !== undefined && last !== undefined && ends.length > 0) {
    const upTo = Math.min(ends.at(-1)!, forecast.from + (ROOM * limit) / forecast.rate)
    const values = times.map((time) =>
      time < last[0] || time > upTo ? null : (forecast.rate * (time - forecast.from)) / per,
    )
    lines.push({ name: 'At this rate', look: LOOKS.rate, values })
  }
  return points.length === 0 ? { times: [], lines: [] } : { times, lines }
}

/** Times to come: the end of the period, where the forecast leads to; for all time no farther than that. */
function endsOf(limit: number, forecast: Forecast | undefined, last: number, to: number | undefined): number[] {
  const stop = forecast === undefined ? undefined : forecast.from + (ROOM * limit) / forecast.rate
  const end = to ?? stop
  const ends = [stop, end].filter((time) => time !== undefined && time > last && time <= (end ?? 0)) as number[]
  return [...new Set(ends)].sort((a, b) => a - b)
}

function secondsOf({ window, resets_at }: FigureAnswer): number | undefined {
  return window === 'lifetime' || resets_at === null ? undefined : Date.parse(resets_at) / 1000
}

const UNKNOWN: Readonly<Record<Quota['when_unknown'], string>> = {
  closed: 'refused while what was used cannot be counted',
  open: 'let pass, and marked, while what was used cannot be counted',
}

function Facts({ definition }: { readonly definition: Quota }) {
  const { id, level, subject, resource, thresholds, when_unknown, valid_from, valid_to, changed_at, tenant } =
    definition
  const facts = [
    ['For', subject === null && level !== 'tenant' ? `each ${level} by itself` : `this ${level} alone`],
    ['Resource', resource],
    ['Told at', thresholds.length === 0 ? 'nothing' : thresholds.map((percent) => `${percent} %`).join(', ')],
    ['Requests', UNKNOWN[when_unknown]],
    ['Holds from', formatTime(Date.parse(valid_from))],
    ['Until', valid_to === null ? 'no known end' : formatTime(Date.parse(valid_to))],
    ['Changed', formatTime(Date.parse(changed_at))],
    ['Quota', id],
    ...(tenant === '*' ? [['Of', 'every tenant: only the operator changes it'] as const] : []),
  ] as const
  return (
    <dl class="facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value === '' ? NONE : cut(value, 120)}</dd>
        </div>
      ))}
    </dl>
  )
}
