/** A small disk of its own for a directory, where this machine lets us mount one: it can be filled and freed. */
import { spawnSync } from 'node:child_process'
import { closeSync, cpSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'

const CHUNK = Buffer.alloc(1 << 20)
const PAGE = 4096

export class SmallDisk {
  readonly directory: string
  #mounted = true
  readonly #unmount = (): void => this.unmount()

  private constructor(directory: string) {
    this.directory = directory
    process.once('exit', this.#unmount)
  }

  /** @returns the reason where it may not be done */
  static mount(directory: string, bytes: number): SmallDisk | string {
    mkdirSync(directory, { recursive: true })
    const { error, status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory], {
      encoding: 'utf8',
    })
    if (error !== undefined) return error.message
    return status === 0 ? new SmallDisk(directory) : stderr.trim().split('\n')[0]!
  }

  get #filler(): string {
    return join(this.directory, 'filler')
  }

  /** Takes every byte that is free; to be called again while others free some. */
  fill(): void {
    const fd = openSync(this.#filler, 'a')
    try {
      for (let size = CHUNK.length; size >= PAGE; ) {
        try {
          if (writeSync(fd, CHUNK, 0, size) === size) continue
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
        }
        size /= 2
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
    } finally {
      closeSync(fd)
    }
  }

  free(): void {
    rmSync(this.#filler, { force: true })
  }

  /** Copies what is on it into an ordinary directory. */
  keep(directory: string): void {
    cpSync(this.directory, directory, { recursive: true })
  }

  unmount(): void {
    if (!this.#mounted) return
    this.#mounted = false
    process.removeListener('exit', this.#unmount)
    if (spawnSync('umount', [this.directory]).status !== 0) spawnSync('umount', ['-l', this.directory])
  }
}
