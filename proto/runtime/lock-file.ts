/**
 * A file with an exclusive lock of the operating system, which dies with its holder however that dies. Node has no such call:
 * `fs-native-extensions` adds it (an OFD lock on Linux), Deno brings its own (flock). The only file that imports the former.
 */
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'

export interface LockFile {
  /** @returns false when another open file has the lock */
  tryLock(): boolean
  /** Replaces the content. */
  write(text: string): void
  /** Gives the lock back. */
  close(): void
}

interface DenoFile {
  tryLockSync(exclusive: boolean): boolean
  truncateSync(): void
  writeSync(bytes: Uint8Array): number
  close(): void
}
declare const Deno: {
  openSync(path: string, options: { read: boolean; write: boolean; create: boolean }): DenoFile
}

/** Opens the file, made when absent. Throws what the file system throws. */
export const openLockFile: (path: string) => LockFile =
  typeof Deno === 'undefined' ? await nodeLockFile() : denoLockFile

async function nodeLockFile(): Promise<(path: string) => LockFile> {
  const { tryLock } = await import('fs-native-extensions')
  return (path) => {
    const fd = openSync(path, 'a+', 0o600)
    return {
      tryLock: () => tryLock(fd),
      write: (text) => {
        ftruncateSync(fd)
        writeSync(fd, text)
      },
      close: () => closeSync(fd),
    }
  }
}

function denoLockFile(path: string): LockFile {
  const file = Deno.openSync(path, { read: true, write: true, create: true })
  return {
    tryLock: () => file.tryLockSync(true),
    write: (text) => {
      file.truncateSync()
      file.writeSync(new TextEncoder().encode(text))
    },
    close: () => file.close(),
  }
}
