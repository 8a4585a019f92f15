/** `repair`: what a collector's own recovery does at its start, under the collector's own lock. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DirectoryLock } from '../../proto/runtime/directory-lock.ts'
import { lockDirectory } from '../../proto/runtime/directory-lock.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Recovery } from '../journal/recovery.ts'
import { recoverJournal } from '../journal/recovery.ts'
import type { Console } from './console.ts'
import { rememberGaps } from './known-gaps.ts'
import type { JournalPlace, Places } from './places.ts'
import { progressOn } from './progress.ts'
import { savingFiles } from './saving-files.ts'
import { SpoolError } from './spool-error.ts'
import type { Survey, Unreadable } from './survey.ts'
import { isUnreadable, surveyJournal } from './survey.ts'
import { named } from './wording.ts'

/** A journal before and after; `done` is what recovery did. */
export interface Repaired {
  readonly before: Survey | Unreadable
  readonly done: Recovery
  readonly after: Survey | Unreadable
}

const NOTHING_DONE: Recovery = { lost: 0, quarantined: 0, torn: 0 }

/**
 * Repairs each journal that is not sound.
 * Rejects with SpoolError when a collector has the lock, or when something cannot be written.
 */
export async function repairJournals(places: Places, console: Console): Promise<Repaired[]> {
  const lock = await takeLock(places.lockDirectory)
  try {
    return places.journals.map((place) => repairJournal(place, console))
  } finally {
    lock.release()
  }
}

function repairJournal(place: JournalPlace, console: Console): Repaired {
  const look = (doing: string): Survey | Unreadable =>
    surveyJournal(place, { progress: (...of) => progressOn(console, doing, ...of) })
  const before = look('looking through')
  if (isUnreadable(before) || before.findings.sound) return { before, done: NOTHING_DONE, after: before }
  let done: Recovery
  try {
    const files = savingFiles(place.quarantine)
    const progress = progressOn(console, 'repairing', place, before)
    const { directory, quarantine, cursor } = { ...place, ...before }
    const recovered = recoverJournal(files, directory, quarantine, cursor?.position, () => {}, {
      segment: (segment) => progress.segment(segment),
      record: (_segment, _record, at) => progress.record(at.end),
    })
    progress.end()
    done = recovered.recovery
    rememberGaps(place, before.findings.gaps)
  } catch (error) {
    throw new SpoolError(
      `Cannot repair ${named(place.name)}: ${messageOf(error)}. Nothing was deleted. Run this as the user that the collector runs as, with room on the disk; it can be run again.`,
    )
  }
  return { before, done, after: look('looking once more through') }
}

async function takeLock(directory: string): Promise<DirectoryLock> {
  try {
    return await lockDirectory(directory)
  } catch (error) {
    if (error instanceof FleetmeterError && error.code === 'FM_DIRECTORY_LOCKED')
      throw new SpoolError(
        `Cannot repair: a collector (pid ${holderOf(directory)}) works in ${named(directory)}. Stop it first; or do nothing: it repairs its journal at every start. verify, stat and dump may be run beside it.`,
      )
    throw new SpoolError(
      `Cannot lock ${named(directory)}: ${messageOf(error)}. Run this as the user that the collector runs as.`,
    )
  }
}

function holderOf(directory: string): string {
  const text = readFileSync(join(directory, 'lock'), 'utf8').trim()
  return /^\d{1,10}$/.test(text) ? text : 'not known'
}
