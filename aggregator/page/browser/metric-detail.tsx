/** One metric: what it is, what stands in its labels, its chart and its series. */
import type { MetricLabelsAnswer } from '../../overview/api.ts'
import { Chart, Swatch } from './chart.tsx'
import type { Unit } from './format.ts'
import { formatAge, formatCount, formatValue, unitOf } from './format.ts'
import type { MetricAnswer, MetricQuestion, Range } from './metric-question.ts'
import { AGGREGATES, askMetric, RANGES, tellingKeys } from './metric-question.ts'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

const LABELS_EVERY_MS = 60_000
/** More cannot be told apart. */
const LINES_MAX = 8

export interface MetricDetailProps {
  readonly credentials: Credentials
  readonly question: MetricQuestion
  readonly onAsk: (question: MetricQuestion) => void
}

export function MetricDetail({ credentials, question, onAsk }: MetricDetailProps) {
  const { name } = question
  const labels = usePolling(JSON.stringify([credentials, name]), LABELS_EVERY_MS, (signal) =>
    ask<MetricLabelsAnswer>(credentials, 'v1/metric_labels', { name }, signal),
  )
  const isCounter = labels.data?.metadata?.type === 'counter' || /_(total|count|sum|bucket)$/.test(name)
  const rate = question.rate ?? isCounter
  const polled = usePolling(JSON.stringify([credentials, question, rate]), RANGES[question.range].every, (signal) =>
    askMetric(credentials, question, rate, signal),
  )
  const { data, failure } = polled
  const help = labels.data?.metadata?.help
  const unit = unitOf(name)
  return (
    <section class="card detail" aria-labelledby="metric-name">
      <header>
        <h2 id="metric-name">{name === '' ? '(empty name)' : name}</h2>
        <p class="muted">
          {[labels.data?.metadata?.type, help, labels.data && `${formatCount(labels.data.series)} series`]
            .filter((part) => part !== undefined && part !== '')
            .join(' · ')}
        </p>
      </header>
      <Controls question={question} rate={rate} labels={labels.data} onAsk={onAsk} />
      {failure !== undefined && (
        <p class="problem" role="alert">
          {failure.message}
        </p>
      )}
      {data?.warnings.map((warning) => (
        <p key={warning} class="warn">
          {warning}
        </p>
      ))}
      {data === undefined ? (
        failure === undefined && <div class="skeleton" role="status" aria-label="Loading" />
      ) : (
        <Answer title={titleOf(question, rate)} answer={data} unit={unit} rate={rate} />
      )}
    </section>
  )
}

function titleOf({ range, agg, by }: MetricQuestion, rate: boolean): string {
  const { step } = RANGES[range]
  const over = step < 120 ? `${step} s` : step < 7200 ? `${step / 60} min` : `${step / 3600} h`
  return `${rate ? 'Rise a second' : agg} over ${over}${by === '' ? '' : `, by ${by}`}`
}

interface AnswerProps {
  readonly title: string
  readonly answer: MetricAnswer
  readonly unit: Unit
  readonly rate: boolean
}

function Answer({ title, answer, unit, rate }: AnswerProps) {
  const { lines, matched, times } = answer
  const now = Date.now()
  const telling = new Set(tellingKeys(lines))
  const common = Object.fromEntries(Object.entries(lines[0]?.labels ?? {}).filter(([key]) => !telling.has(key)))
  return (
    <>
      <Chart
        title={title}
        note={
          lines.length > LINES_MAX ? `the first ${LINES_MAX} of ${formatCount(matched)}: choose labels or a group` : ''
        }
        unit={unit === 'time' && rate ? 'number' : unit}
        perSecond={rate}
        times={times}
        lines={lines.slice(0, LINES_MAX)}
        height={260}
        empty="No samples in this time."
      />
      {Object.keys(common).length > 0 && (
        <p class="labels">
          <Labels labels={common} />
        </p>
      )}
      <div class="scroll">
        <table>
          <caption class="visually-hidden">Series with their newest values</caption>
          <thead>
            <tr>
              <th scope="col">Series</th>
              <th scope="col" class="figure">
                Newest
              </th>
              <th scope="col" class="figure wide">
                Lowest
              </th>
              <th scope="col" class="figure wide">
                Highest
              </th>
              <th scope="col" class="figure">
                Last sample
              </th>
            </tr>
          </thead>
          <tbody>
            {lines.map((line, i) => {
              const there = line.values.filter((value) => value !== null)
              return (
                <tr key={JSON.stringify(line.labels)}>
                  <th scope="row" class="labels">
                    {i < LINES_MAX && <Swatch index={i} />}
                    <Labels
                      labels={Object.fromEntries(Object.entries(line.labels).filter(([key]) => telling.has(key)))}
                    />
                  </th>
                  <td class="figure">{formatValue(there.at(-1), unit, rate)}</td>
                  <td class="figure wide">{formatValue(lowest(there), unit, rate)}</td>
                  <td class="figure wide">{formatValue(highest(there), unit, rate)}</td>
                  <td class="figure">{formatAge(line.latest, now)}</td>
                </tr>
              )
            })}
          </tbody>
        </table>
        {lines.length < matched && (
          <p class="muted">
            {formatCount(lines.length)} of {formatCount(matched)} series
          </p>
        )}
      </div>
    </>
  )
}

function lowest(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => Math.min(a, b))
}

function highest(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => Math.max(a, b))
}

function Labels({ labels }: { readonly labels: Readonly<Record<string, string | null>> }) {
  const byLength = Object.entries(labels).sort(([, a], [, b]) => (a ?? '').length - (b ?? '').length)
  return byLength.map(([key, value]) => (
    <span key={key} class="label">
      <span class="muted">{key}</span> {value ?? '(none)'}
    </span>
  ))
}

interface ControlsProps {
  readonly question: MetricQuestion
  readonly rate: boolean
  readonly labels: MetricLabelsAnswer | undefined
  readonly onAsk: (question: MetricQuestion) => void
}

function Controls({ question, rate, labels, onAsk }: ControlsProps) {
  const { filter } = question
  const setFilter = (key: string, value: string): void => {
    const { [key]: _, ...others } = filter
    onAsk({ ...question, filter: value === '' ? others : { ...others, [key]: value } })
  }
  return (
    <div class="controls">
      <fieldset class="segments">
        <legend class="visually-hidden">Time</legend>
        {Object.entries(RANGES).map(([range, { name }]) => (
          <button
            key={range}
            type="button"
            aria-pressed={question.range === range}
            onClick={() => onAsk({ ...question, range: range as Range })}
          >
            {name}
          </button>
        ))}
      </fieldset>
      <label>
        Show
        <select
          value={rate ? 'rate' : question.agg}
          onChange={({ currentTarget: { value } }) => onAsk({ ...question, ...shownAs(value) })}
        >
          <option value="rate">rise a second</option>
          {AGGREGATES.map((agg) => (
            <option key={agg} value={agg}>
              {agg}
            </option>
          ))}
        </select>
      </label>
      <label>
        By
        <select value={question.by} onChange={(event) => onAsk({ ...question, by: event.currentTarget.value })}>
          <option value="">every series</option>
          {labels?.labels.map(({ key }) => (
            <option key={key} value={key}>
              {key}
            </option>
          ))}
        </select>
      </label>
      {labels?.labels
        .filter(({ key, values }) => values.length > 1 || key in filter)
        .map(({ key, values, values_total }) => (
          <label key={key}>
            {key}
            <select value={filter[key] ?? ''} onChange={(event) => setFilter(key, event.currentTarget.value)}>
              <option value="">any of {formatCount(values_total)}</option>
              {values.map(({ value }) => (
                <option key={value} value={value}>
                  {value}
                </option>
              ))}
            </select>
          </label>
        ))}
    </div>
  )
}

function shownAs(value: string): Pick<MetricQuestion, 'agg' | 'rate'> {
  const agg = AGGREGATES.find((a) => a === value)
  return agg === undefined ? { agg: 'avg', rate: true } : { agg, rate: false }
}
