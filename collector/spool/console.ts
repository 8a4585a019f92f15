/** Where the tool writes: straight to the file descriptors, since a pipe whose reader has gone (`| head`) must end it at once. */
import { writeSync } from 'node:fs'

export interface Console {
  /** Results. Throws {@link ReaderGone}. */
  out(text: string): void
  /** Notes and errors. */
  err(text: string): void
  /** Since the start, ms. */
  elapsed(): number
  /** Characters in a line of stderr; undefined: it is no terminal. */
  readonly columns: number | undefined
  readonly outIsTerminal: boolean
}

/** Nobody reads the results any more. */
export class ReaderGone extends Error {}

const FULL_WAIT_MS = 5

export function processConsole(): Console {
  return {
    out: (text) => writeAll(1, text),
    err: (text) => {
      try {
        writeAll(2, text)
      } catch (error) {
        if (!(error instanceof ReaderGone)) throw error // notes that nobody reads
      }
    },
    elapsed: () => performance.now(),
    columns: process.stderr.isTTY ? process.stderr.columns : undefined,
    outIsTerminal: process.stdout.isTTY,
  }
}

function writeAll(fd: number, text: string): void {
  let rest = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EPIPE') throw new ReaderGone()
      if (code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_WAIT_MS) // a pipe that is full, and does not block
    }
  }
}
