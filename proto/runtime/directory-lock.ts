/**
 * One process per data directory, also between containers that share a volume.
 */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FleetmeterError } from './errors.ts'
import type { LockFile } from './lock-file.ts'
import { openLockFile } from './lock-file.ts'

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
  let file: LockFile
  try {
    mkdirSync(directory, { recursive: true })
    file = openLockFile(path)
  } catch (error) {
    throw new FleetmeterError('FM_DIRECTORY', `Cannot use the data directory "${directory}"`, { cause: error })
  }
  const since = performance.now()
  while (!file.tryLock()) {
    if (performance.now() - since < WAIT_MS) {
      await sleep(LOOK_EVERY_MS)
      continue
    }
    const holder = readFileSync(path, 'utf8').trim()
    file.close()
    throw new FleetmeterError(
      'FM_DIRECTORY_LOCKED',
      `Cannot start: the data directory "${directory}" is in use by another process${holder === '' ? '' : ` (pid ${holder})`}. Stop it, or set FLEETMETER_DATA_DIR to another directory.`,
    )
  }
  file.write(`${process.pid}\n`)
  return { release: () => file.close() }
}
