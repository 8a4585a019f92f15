/**
 * One process per data directory. The lock is the operating system's (OFD on Linux), held on an open file: it dies with its
 * holder, however that dies, and it works between containers that share a volume. The only file that imports
 * `fs-native-extensions`.
 */
import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { tryLock } from 'fs-native-extensions'
import { FleetmeterError } from './errors.ts'

export interface DirectoryLock {
  release(): void
}

/** After a kill the predecessor's children may still be leaving. */
const WAIT_MS = 5000
const LOOK_EVERY_MS = 50

/**
 * Makes the directory and locks it; waits a few seconds for a holder that is leaving.
 * Rejects with FleetmeterError `FM_DIRECTORY_LOCKED` and the holder's pid, or `FM_DIRECTORY` when it cannot be written.
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const path = join(directory, 'lock')
  let fd: number
  try {
    mkdirSync(directory, { recursive: true })
    fd = openSync(path, 'a+', 0o644)
  } catch (error) {
    throw new FleetmeterError('FM_DIRECTORY', `Cannot use the data directory "${directory}"`, { cause: error })
  }
  const since = performance.now()
  while (!tryLock(fd)) {
    if (performance.now() - since < WAIT_MS) {
      await sleep(LOOK_EVERY_MS)
      continue
    }
    const holder = readFileSync(path, 'utf8').trim()
    closeSync(fd)
    throw new FleetmeterError(
      'FM_DIRECTORY_LOCKED',
      `Cannot start: the data directory "${directory}" is in use by another process${holder === '' ? '' : ` (pid ${holder})`}. Stop it, or set FLEETMETER_DATA_DIR to another directory.`,
    )
  }
  ftruncateSync(fd)
  writeSync(fd, `${process.pid}\n`)
  return { release: () => closeSync(fd) }
}
