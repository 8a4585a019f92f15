/**
 * The journal's files for looking only: recovery runs over them and nothing on the disk changes.
 *
 * All segments are opened at once, with the lengths that they have then. So a collector may go on writing, and may remove
 * segments that are stored: what was seen stays readable.
 */
import { closeSync, constants, fstatSync, openSync, readdirSync, readFileSync, readSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { messageOf } from '../../proto/runtime/errors.ts'
import type { Files } from '../journal/files.ts'
import { isSegmentName } from '../journal/recovery.ts'
import { SpoolError } from './spool-error.ts'
import { named } from './wording.ts'

/** What else a collector keeps in a journal's directory. */
const OWN_NAMES: ReadonlySet<string> = new Set(['cursor', 'rules', 'rules.new', 'probe', 'quarantine', 'lock'])

interface Handle {
  readonly fd: number
  readonly bytes: number
}

export class LookingFiles implements Files {
  /** Of all segments, bytes. */
  readonly bytes: number
  /** Segments that were removed between listing and opening. */
  readonly removed: number
  /** Names that are no segments. */
  readonly ignored: readonly string[]
  /** Those whose bytes are in quarantine already, as they are: paths there. */
  readonly settled: Set<string> = new Set()
  readonly #handles = new Map<string, Handle>()
  readonly #paths = new Map<number, string>()

  /** @throws SpoolError when the directory cannot be read, or a segment is no file */
  constructor(directory: string) {
    const names = readdirSync(directory).sort()
    const segments = names.filter(isSegmentName)
    this.ignored = names.filter((name) => !isSegmentName(name) && !OWN_NAMES.has(name))
    try {
      // From the newest on: a collector removes them from the oldest on, so that what is still there has no hole.
      for (const name of segments.reverse()) this.#look(join(directory, name))
    } catch (error) {
      this.release()
      throw error
    }
    this.removed = segments.length - this.#handles.size
    this.bytes = [...this.#handles.values()].reduce((sum, { bytes }) => sum + bytes, 0)
  }

  #look(path: string): void {
    let fd: number
    try {
      fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) // does not wait where somebody has put a pipe
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT') return
      const advice =
        code === 'EMFILE' ? 'Raise the limit of open files (ulimit -n).' : 'Run this as the collector’s user.'
      throw new SpoolError(`Cannot open segment ${named(path)}: ${messageOf(error)}. ${advice}`)
    }
    const stats = fstatSync(fd)
    if (!stats.isFile()) {
      closeSync(fd)
      throw new SpoolError(`${named(path)} has the name of a segment and is no file. Move it out of the journal.`)
    }
    this.#handles.set(path, { fd, bytes: stats.size })
    this.#paths.set(fd, path)
  }

  /** How long a segment is now: a collector may be writing to it. */
  sizeNow(path: string): number {
    return fstatSync(this.#handle(path).fd).size
  }

  /** Closes everything. */
  release(): void {
    for (const { fd } of this.#handles.values()) closeSync(fd)
    this.#handles.clear()
  }

  list(): string[] {
    return [...this.#handles.keys()].map((path) => basename(path))
  }

  size(path: string): number {
    return this.#handle(path).bytes
  }

  open(path: string): number {
    return this.#handle(path).fd
  }

  openToRead(path: string): number {
    return this.open(path)
  }

  close(): void {}

  read(fd: number, into: Uint8Array, at: number): number {
    try {
      return readSync(fd, into, 0, into.length, at)
    } catch (error) {
      throw new SpoolError(
        `Cannot read segment ${named(this.#paths.get(fd) ?? '')} at byte ${at}: ${messageOf(error)}. Look at the disk; a copy of the file may be readable.`,
      )
    }
  }

  /** Recovery puts damaged bytes aside: here it is only seen whether they are there. */
  write(path: string, content: Uint8Array): void {
    const kept = this.readBytes(path)
    if (kept !== undefined && Buffer.compare(kept, content) === 0) this.settled.add(path)
  }

  readBytes(path: string): Uint8Array | undefined {
    return statSync(path, { throwIfNoEntry: false })?.isFile() ? readFileSync(path) : undefined
  }

  makeDirectory(): void {}
  truncate(): void {}
  sync(): void {}
  syncDirectory(): void {}

  append(): number {
    throw new Error('nothing is written while looking')
  }

  replace(): void {
    throw new Error('nothing is written while looking')
  }

  overwrite(): void {
    throw new Error('nothing is written while looking')
  }

  remove(): void {
    throw new Error('nothing is removed while looking')
  }

  #handle(path: string): Handle {
    const handle = this.#handles.get(path)
    if (handle === undefined) throw new Error(`${path} was not opened`)
    return handle
  }
}
