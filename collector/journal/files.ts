/** What the journal asks of a file system: few calls, synchronous, so that a test can make each of them fail. */
import {
  closeSync,
  constants,
  existsSync,
  fdatasyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
  writevSync,
} from 'node:fs'
import { syncDirectory, writeFileAtomic } from '../../proto/runtime/atomic-file.ts'

export interface Files {
  makeDirectory(path: string): void
  list(path: string): string[]
  size(path: string): number
  /** Opens for reading and appending, made when absent. */
  open(path: string): number
  /** Opens what is there for reading alone: that works on a read-only disk too. */
  openToRead(path: string): number
  close(fd: number): void
  /** @returns bytes written, which may be fewer than given */
  append(fd: number, parts: readonly Uint8Array[]): number
  /** @returns bytes read, fewer than asked for at the end of the file */
  read(fd: number, into: Uint8Array, at: number): number
  truncate(fd: number, bytes: number): void
  sync(fd: number): void
  syncDirectory(path: string): void
  remove(path: string): void
  /** Writes a file that nobody waits for. */
  write(path: string, content: Uint8Array): void
  /** The file is the old one or this, whatever happens meanwhile; made when absent. */
  replace(path: string, content: Uint8Array): void
  readBytes(path: string): Uint8Array | undefined
  /** Writes into a file at an offset, made when absent, and syncs it. Throws where not all of it went in. */
  overwrite(path: string, at: number, content: Uint8Array): void
}

export const nodeFiles: Files = {
  makeDirectory: (path) => void mkdirSync(path, { recursive: true }),
  list: (path) => readdirSync(path),
  size: (path) => statSync(path).size,
  open: (path) => openSync(path, 'a+'),
  openToRead: (path) => openSync(path, 'r'),
  close: (fd) => closeSync(fd),
  append: (fd, parts) => writevSync(fd, parts as Uint8Array[]),
  read: (fd, into, at) => readSync(fd, into, 0, into.length, at),
  truncate: (fd, bytes) => ftruncateSync(fd, bytes),
  sync: (fd) => fdatasyncSync(fd),
  syncDirectory: (path) => syncDirectory(path),
  remove: (path) => unlinkSync(path),
  write: (path, content) => writeFileSync(path, content),
  replace: (path, content) => writeFileAtomic(path, content),
  readBytes: (path) => (existsSync(path) ? readFileSync(path) : undefined),
  overwrite: (path, at, content) => {
    const fd = openSync(path, constants.O_CREAT | constants.O_WRONLY, 0o644)
    try {
      const written = writeSync(fd, content, 0, content.length, at)
      if (written !== content.length) throw cutShort(written, content.length)
      fdatasyncSync(fd)
    } finally {
      closeSync(fd)
    }
  },
}

/** A write that went in only in part: the next one would say why, and that is nearly always this. */
export function cutShort(written: number, wanted: number): Error {
  const error = new Error(`only ${written} of ${wanted} bytes were written`)
  return Object.assign(error, { code: 'ENOSPC' })
}
