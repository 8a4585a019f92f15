/** The end of a promise, or of the patience for it; nothing is left on the signal. A promise that nobody waits for any more may reject. */
export async function orAborted(promise: Promise<unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) {
    promise.catch(() => {})
    return
  }
  let abort = (): void => {}
  const aborted = new Promise<void>((resolve) => {
    abort = resolve
  })
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
