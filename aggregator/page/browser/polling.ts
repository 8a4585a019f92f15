/**
 * Asking again and again, without hurry: the next question a pause after the last answer; longer and longer pauses while there is none; no
 * questions while nobody looks.
 */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { Failure } from './session.ts'

export interface Polled<T> {
  /** The last answer, also while the next ones fail. */
  readonly data: T | undefined
  readonly failure: Failure | undefined
  /** When it is asked again after a failure, ms of performance.now(). */
  readonly retryAt: number | undefined
  readonly askNow: () => void
}

const BACKOFF_MIN_MS = 2000
const BACKOFF_MAX_MS = 60_000

/**
 * @param key another one begins anew
 * @param everyMs the pause after an answer, which may be a matter of what it was
 * @param question asks once
 */
export function usePolling<T>(
  key: string,
  everyMs: number | ((data: T) => number),
  question: (signal: AbortSignal) => Promise<T>,
): Polled<T> {
  const [state, setState] = useState<{ key: string } & Omit<Polled<T>, 'askNow'>>({
    key,
    data: undefined,
    failure: undefined,
    retryAt: undefined,
  })
  const latest = useRef(question)
  latest.current = question
  const pause = useRef(everyMs)
  pause.current = everyMs
  const again = useRef<() => void>(() => {})

  useEffect(() => {
    const ended = new AbortController()
    let timer: number | undefined
    let asking = false
    let failures = 0
    const next = (ms: number): void => {
      clearTimeout(timer)
      timer = setTimeout(() => void once(), ms)
    }
    const once = async (): Promise<void> => {
      if (asking || document.hidden) return // shown again, it asks at once
      asking = true
      try {
        const data = await latest.current(ended.signal)
        failures = 0
        setState({ key, data, failure: undefined, retryAt: undefined })
        next(typeof pause.current === 'number' ? pause.current : pause.current(data))
      } catch (error) {
        if (ended.signal.aborted) return
        const failure = error instanceof Failure ? error : new Failure('refused', String(error))
        const wait = Math.max(
          failure.retryAfterMs ?? 0,
          Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** failures++) * (0.75 + Math.random() / 2),
        )
        setState((s) => ({
          ...s,
          key,
          data: s.key === key ? s.data : undefined,
          failure,
          retryAt: performance.now() + wait,
        }))
        if (failure.kind !== 'unauthorized') next(wait)
      } finally {
        asking = false
      }
    }
    const shown = (): void => {
      if (!document.hidden) void once()
    }
    again.current = shown
    document.addEventListener('visibilitychange', shown)
    void once()
    return () => {
      ended.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', shown)
    }
  }, [key])

  const askNow = useCallback(() => again.current(), [])
  // An answer to another question is none.
  const { data, failure, retryAt } =
    state.key === key ? state : { data: undefined, failure: undefined, retryAt: undefined }
  return { data, failure, retryAt, askNow }
}
