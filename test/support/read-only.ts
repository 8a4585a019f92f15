/**
 * Makes a directory read-only for everybody, root too, and writable again, where this machine lets us mount: it is mounted over
 * itself. What a program has open for writing already stays so; whatever it opens, makes or removes from then on fails with EROFS.
 */
import { spawnSync } from 'node:child_process'

const ATTEMPTS_MAX = 50

export class ReadOnly {
  readonly #directory: string
  readonly #unmount = (): void => this.end()
  #mounted = true

  private constructor(directory: string) {
    this.#directory = directory
    process.once('exit', this.#unmount)
  }

  /** @returns the reason where it may not be done */
  static begin(directory: string): ReadOnly | string {
    for (let attempt = 1; ; attempt++) {
      const problem = mount('--bind', directory, directory)
      if (problem !== undefined) return problem
      const over = new ReadOnly(directory)
      const refused = mount('-o', 'remount,bind,ro', directory)
      if (refused === undefined) return over
      over.end()
      // Somebody began to write through it in the moment between the two.
      if (attempt === ATTEMPTS_MAX) return refused
    }
  }

  /** It can be written to again. */
  lift(): void {
    mount('-o', 'remount,bind,rw', this.#directory)
  }

  /** Takes the mount away; a program may still have files open through it. */
  end(): void {
    if (!this.#mounted) return
    this.#mounted = false
    process.removeListener('exit', this.#unmount)
    spawnSync('umount', ['-l', this.#directory])
  }
}

/** @returns what is wrong */
function mount(...args: string[]): string | undefined {
  const { error, status, stderr } = spawnSync('mount', args, { encoding: 'utf8' })
  if (error !== undefined) return error.message
  return status === 0 ? undefined : stderr.trim().split('\n')[0]!
}
