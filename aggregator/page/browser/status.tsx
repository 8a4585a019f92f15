/** Whether the figures are live; where they are not, why, since when, and when it is asked again. */
import { useEffect, useState } from 'preact/hooks'
import { formatTime } from './format.ts'
import type { Polled } from './polling.ts'
import type { Failure } from './session.ts'

export interface StatusProps {
  readonly polled: Polled<unknown>
  /** The token is not valid any more. */
  readonly onRefused: (why: Failure) => void
}

export function Status({ polled, onRefused }: StatusProps) {
  const { data, failure, retryAt, askNow } = polled
  const [answeredAt, setAnsweredAt] = useState<number | undefined>(undefined)
  const [, setTick] = useState(0)
  useEffect(() => {
    if (data !== undefined && failure === undefined) setAnsweredAt(Date.now())
  }, [data, failure])
  useEffect(() => {
    if (failure?.kind === 'unauthorized') onRefused(failure)
  }, [failure, onRefused])
  useEffect(() => {
    if (retryAt === undefined) return
    const timer = setInterval(() => setTick((n) => n + 1), 1000)
    return () => clearInterval(timer)
  }, [retryAt])

  if (failure === undefined || failure.kind === 'unauthorized')
    return (
      <p class="status live">
        <span class={`dot ${data === undefined ? 'late' : 'fresh'}`} aria-hidden="true" />
        {data === undefined ? 'Asking …' : 'Live'}
        {answeredAt !== undefined && <span class="muted">as of {formatTime(answeredAt)}</span>}
      </p>
    )
  const seconds = retryAt === undefined ? 0 : Math.max(0, Math.ceil((retryAt - performance.now()) / 1000))
  return (
    <div class="status banner" role="alert">
      <span class="dot silent" aria-hidden="true" />
      <p>
        <strong>{failure.kind === 'forbidden' ? 'This token may not see that.' : 'No new figures.'}</strong>{' '}
        {failure.message}
        {answeredAt !== undefined && ` What is shown is of ${formatTime(answeredAt)}.`}
      </p>
      {/* Told once, not each second. */}
      <span class="muted" aria-hidden="true">
        again in {seconds} s
      </span>
      <button type="button" onClick={askNow}>
        Ask now
      </button>
    </div>
  )
}
