/** A small file that is either the old or the new one, also after a power cut. */
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'

/** Writes all of it beside the file, syncs, renames over it and syncs the directory. */
export function writeFileAtomic(path: string, content: string | Uint8Array, mode = 0o644): void {
  const temporary = `${path}.new`
  const fd = openSync(temporary, 'w', mode)
  try {
    writeFileSync(fd, content) // goes on after a short write, or throws
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
  renameSync(temporary, path)
  syncDirectory(dirname(path))
}

/** The content, or undefined when there is no such file. */
export function readFileIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Makes created, renamed and removed names in a directory durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Reads a file, or makes it with what `create` gives: the first of several processes wins, all get the same content. */
export function readOrCreate(path: string, create: () => string, mode = 0o644): { content: string; created: boolean } {
  const there = readFileIfThere(path)
  if (there !== undefined) return { content: there.trim(), created: false }
  mkdirSync(dirname(path), { recursive: true })
  const temporary = `${path}.${process.pid}`
  writeFileAtomic(temporary, `${create()}\n`, mode)
  let created = true
  try {
    linkSync(temporary, path) // unlike a rename, it does not replace a file that came into being meanwhile
    syncDirectory(dirname(path))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    created = false
  } finally {
    unlinkSync(temporary)
  }
  return { content: readFileSync(path, 'utf8').trim(), created }
}
