/** The finder: any metric by words in its name, its labels, its chart. What is asked stands in the address. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { MetricNamesAnswer } from '../../overview/api.ts'
import { counted, formatCount } from './format.ts'
import { MetricDetail } from './metric-detail.tsx'
import type { MetricQuestion } from './metric-question.ts'
import type { Polled } from './polling.ts'
import { usePolling } from './polling.ts'
import type { Credentials } from './session.ts'
import { ask } from './session.ts'

const NAMES_EVERY_MS = 30_000
const NAMES_SHOWN = '100'
const TYPING_MS = 150

export interface MetricsViewProps {
  readonly credentials: Credentials
  readonly question: MetricQuestion
  readonly onAsk: (question: MetricQuestion) => void
  /** Told of every answer and failure. */
  readonly children: (polled: Polled<unknown>) => preact.ComponentChildren
}

export function MetricsView({ credentials, question, onAsk, children }: MetricsViewProps) {
  const [typed, setTyped] = useState('')
  const search = useSettled(typed, TYPING_MS)
  const polled = usePolling(JSON.stringify([credentials, search]), NAMES_EVERY_MS, (signal) =>
    ask<MetricNamesAnswer>(credentials, 'v1/metric_names', { search, limit: NAMES_SHOWN }, signal),
  )
  const [shown, setShown] = useState(polled.data)
  if (polled.data !== undefined && polled.data !== shown) setShown(polled.data)
  const names = polled.data ?? shown
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => {
    if (question.name === '') field.current?.focus()
  }, [])

  return (
    <main class="metrics">
      {children(polled)}
      <nav class="finder card" aria-label="Metrics">
        <label for="search" class="visually-hidden">
          Find a metric by words in its name
        </label>
        <input
          id="search"
          ref={field}
          type="search"
          placeholder="Find a metric, such as gpu util"
          autocomplete="off"
          spellcheck={false}
          value={typed}
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <p class="muted found" role="status">
          {names === undefined ? 'Loading …' : foundText(names)}
        </p>
        <ul>
          {names?.data.map(({ name, series }) => (
            <li key={name}>
              <button
                type="button"
                aria-current={name === question.name ? 'true' : undefined}
                title={name}
                onClick={() => onAsk({ ...question, name, agg: 'avg', rate: undefined, by: '', filter: {} })}
              >
                <span class="name">{name === '' ? '(empty name)' : breakable(name)}</span>
                <span class="muted figure">{series === 0 ? 'older' : formatCount(series)}</span>
              </button>
            </li>
          ))}
        </ul>
      </nav>
      {question.name === '' ? (
        <section class="card detail">
          <p class="empty">Choose a metric: its labels and its chart are shown here.</p>
        </section>
      ) : (
        <MetricDetail key={question.name} credentials={credentials} question={question} onAsk={onAsk} />
      )}
    </main>
  )
}

/** A long name may go on in another line after each of its parts. */
function breakable(name: string): preact.ComponentChildren {
  return name.split(/(?<=[_:.])/).map((part) => [part, <wbr key={part} />])
}

function foundText({ data, total, warnings }: MetricNamesAnswer): string {
  const count = data.length < total ? `first ${data.length} of ${formatCount(total)} metrics` : counted(total, 'metric')
  return [count, ...warnings].join('; ')
}

/** A value once it stays the same for a while. */
function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}
