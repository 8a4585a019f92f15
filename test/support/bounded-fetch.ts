/**
 * A `fetch` without a signal of its own gives up after a minute. Node 20's can stay pending for ever, without a connection and past
 * all of its own timeouts, when the server that it is sending to is killed; and tests kill servers.
 */
const FETCH_MS = 60_000

const unbounded = globalThis.fetch

globalThis.fetch = (input, init) =>
  unbounded(input, init?.signal == null ? { ...init, signal: AbortSignal.timeout(FETCH_MS) } : init)
