/** Another time of day for a program: libfaketime, where the Debian package `faketime` is there and works with this Node. */
import { spawnSync } from 'node:child_process'
import type { Env } from '../support/programs.ts'

const TRY_S = 1000
/** Before a program's own code: what it starts has the true time. */
const NOT_HANDED_ON = `data:text/javascript,${encodeURIComponent('delete process.env.LD_PRELOAD; delete process.env.NODE_OPTIONS')}`

export class SkewedClock {
  readonly #library: string

  private constructor(library: string) {
    this.#library = library
  }

  /** @returns the reason where it cannot be done */
  static find(): SkewedClock | string {
    // The command knows where its library is.
    const asked = spawnSync('faketime', ['-m', '-f', '+1s', 'sh', '-c', 'echo "$LD_PRELOAD"'], { encoding: 'utf8' })
    if (asked.error !== undefined) return 'faketime is not installed (Debian package faketime)'
    const found = new SkewedClock(asked.stdout.trim())
    const node = spawnSync(process.execPath, ['-p', 'Date.now()'], { encoding: 'utf8', env: found.env(TRY_S) })
    const ahead = (Number(node.stdout) - Date.now()) / 1000
    return Math.abs(ahead - TRY_S) < 60 ? found : 'libfaketime does not change the clock of this Node'
  }

  /**
   * The wall clock only: what counts on from the start of a machine does not jump. And the program only: the embedded engine
   * reads the clock past the library and waits through it, so an insert takes seconds where the two disagree.
   */
  env(seconds: number): Env {
    if (seconds === 0) return {}
    return {
      LD_PRELOAD: this.#library,
      NODE_OPTIONS: `--import=${NOT_HANDED_ON}`,
      FAKETIME: `${seconds > 0 ? '+' : ''}${seconds}s`,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      DONT_FAKE_MONOTONIC: '1', // its name in older versions
      FAKETIME_DISABLE_SHM: '1',
      NO_FAKE_STAT: '1',
    }
  }
}
