/**
 * How far the journals are read at the start, where that takes longer than a second: a bar where stderr is a terminal, else a line
 * of the log now and then.
 */
import type { Logger } from '../proto/runtime/log.ts'
import { Progress } from '../proto/runtime/progress.ts'
import type { ShardThread } from './shard/shard-thread.ts'

const LOOK_EVERY_MS = 100

/** @param columns of the terminal; undefined: there is none. @returns to be called when everything has started */
export function showReplay(
  threads: readonly Pick<ShardThread, 'name' | 'replay'>[],
  terminal: { readonly columns: number | undefined; write(text: string): void },
  log: Logger,
): () => void {
  const progress = new Progress('reading the journal', {
    columns: terminal.columns,
    write: (text) => (terminal.columns === undefined ? log.info(text.trim()) : terminal.write(text)),
    now: () => performance.now(),
  })
  const timer = setInterval(() => {
    const reading = threads.find(({ replay }) => replay.done < replay.of)
    if (reading !== undefined) progress.update({ ...reading.replay, detail: reading.name })
  }, LOOK_EVERY_MS)
  return () => {
    clearInterval(timer)
    progress.clear()
  }
}
