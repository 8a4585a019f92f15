/**
 * Where journals lie:
 *
 *     data directory / collector / journal / samples-0, samples-1, …, rules, events
 *                                            └─ 00000001.seg …, cursor, quarantine/
 *
 * Any of these directories can be given; the collector's lock is in `collector`.
 */
import type { Dirent, Stats } from 'node:fs'
import { readdirSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { messageOf } from '../../proto/runtime/errors.ts'
import { isSegmentName } from '../journal/recovery.ts'
import { SpoolError } from './spool-error.ts'
import { named } from './wording.ts'

/** The journal of one shard, that of the outputs of rules, or that of events. */
export interface JournalPlace {
  readonly name: string
  readonly directory: string
  /** Where recovery puts damaged bytes. */
  readonly quarantine: string
}

export interface Places {
  readonly journals: readonly JournalPlace[]
  /** The directory that a collector locks while it runs on these journals. */
  readonly lockDirectory: string
  /** Names beside the journals that mean nothing to a collector. */
  readonly ignored: readonly string[]
}

const JOURNAL_NAME = /^(samples-\d+|rules|events)$/
const WHAT = 'Give the data directory (FLEETMETER_DATA_DIR, ./data by default) or the directory of one journal in it.'

/** @throws SpoolError when there is no journal at or below the directory */
export function findJournals(given: string): Places {
  const directory = existing(given)
  for (const below of ['collector/journal', 'journal']) {
    const journals = join(directory, below)
    if (isDirectory(journals)) return among(journals, dirname(journals), given)
  }
  const entries = list(directory)
  if (basename(directory) === 'journal') return among(directory, dirname(directory), given)
  if (entries.some((entry) => JOURNAL_NAME.test(entry.name) && entry.isDirectory()))
    return among(directory, directory, given)
  const isJournal = JOURNAL_NAME.test(basename(directory)) || entries.some(({ name }) => isSegmentName(name))
  if (!isJournal) throw new SpoolError(`There is no journal in ${named(given)}: ${found(entries)}. ${WHAT}`)
  const parent = dirname(directory)
  return {
    journals: [place(directory)],
    lockDirectory: basename(parent) === 'journal' ? dirname(parent) : directory,
    ignored: [],
  }
}

function among(journals: string, lockDirectory: string, given: string): Places {
  const entries = list(journals)
  const isJournal = (entry: Dirent): boolean => JOURNAL_NAME.test(entry.name) && isDirectory(join(journals, entry.name))
  const found = entries.filter(isJournal).map(({ name }) => name)
  if (found.length === 0)
    throw new SpoolError(
      `There is no journal in ${named(given)}: ${named(journals)} has no directory "samples-0". Has a collector run here yet? ${WHAT}`,
    )
  return {
    journals: found.sort(byNumber).map((name) => place(join(journals, name))),
    lockDirectory,
    ignored: entries.filter((entry) => !isJournal(entry)).map(({ name }) => name),
  }
}

function place(directory: string): JournalPlace {
  return { name: basename(directory), directory, quarantine: join(directory, 'quarantine') }
}

/** samples-2 before samples-10, the others last. */
function byNumber(a: string, b: string): number {
  const number = (name: string): number => Number(/\d+$/.exec(name)?.[0] ?? Number.POSITIVE_INFINITY)
  return number(a) === number(b) ? a.localeCompare(b) : number(a) - number(b)
}

function found(entries: readonly Dirent[]): string {
  if (entries.length === 0) return 'it is empty'
  const names = entries.slice(0, 3).map(({ name }) => named(name))
  return `it holds ${names.join(', ')}${entries.length > names.length ? ', …' : ''}`
}

function existing(given: string): string {
  let stats: Stats
  try {
    stats = statSync(given)
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
    throw new SpoolError(
      `Cannot look at ${named(given)}: ${missing ? 'there is no such directory' : messageOf(error)}. ${WHAT}`,
    )
  }
  if (!stats.isDirectory()) throw new SpoolError(`${named(given)} is not a directory. ${WHAT}`)
  return realpathSync(given)
}

function list(directory: string): Dirent[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
  } catch (error) {
    throw new SpoolError(
      `Cannot list ${named(directory)}: ${messageOf(error)}. Run this as the user that the collector runs as.`,
    )
  }
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
}
