/** What the file log asks of a file system: few calls, so that a test can make each of them fail. Nothing here holds up the event loop. */
import { constants } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises'

export interface LogFile {
  /** @returns bytes written, which may be fewer than given */
  append(bytes: Uint8Array): Promise<number>
  truncate(bytes: number): Promise<void>
  /** What was appended survives a power cut. */
  sync(): Promise<void>
  close(): Promise<void>
}

export interface LogFiles {
  makeDirectory(path: string): Promise<void>
  list(path: string): Promise<string[]>
  /** A new, empty file; one of this name is replaced. */
  create(path: string): Promise<LogFile>
  read(path: string): Promise<Uint8Array>
  /** Writes beside the file, syncs, renames over it and syncs the directory. */
  replace(directory: string, name: string, content: Uint8Array): Promise<void>

  remove(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  syncDirectory(path: string): Promise<void>
}

/** What snapshots and cursors ask of it: whole files, by name. */
export type KeptFiles = Omit<LogFiles, 'create' | 'syncDirectory'>

export const nodeLogFiles: LogFiles = {
  makeDirectory: async (path) => void (await mkdir(path, { recursive: true })),
  list: (path) => readdir(path),
  create: async (path) => {
    const file = await open(
      path,
      constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_APPEND,
      0o644,
    )
    return {
      append: async (bytes) => (await file.write(bytes)).bytesWritten,
      truncate: async (bytes) => {
        await file.truncate(bytes)
      },
      sync: () => file.datasync(),
      close: () => file.close(),
    }
  },
  read: (path) => readFile(path),
  replace: async (directory, name, content) => {
    const path = `${directory}/${name}`
    await writeFile(`${path}.new`, content, { flush: true })
    await rename(`${path}.new`, path)
    await syncDirectory(directory)
  },
  remove: (path) => unlink(path),
  rename: (from, to) => rename(from, to),
  syncDirectory,
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
