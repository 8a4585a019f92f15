/**
 * What a collector decided by its slices, on its disk before anybody is told so. A file for each start of the collector:
 *
 *     3.9f86d081.log = line*
 *     line           = crc32c(json) as 8 hex digits, a blank, json, a line feed
 *     first          {"version":1,"epoch":"3.9f86d081","boot":"…"}
 *     each other     {"tenant":"…","lease":17,"admission":{"index":4,…}}   decided
 *                    {"tenant":"…","lease":17,"void":4}                    told to nobody: it came here too late
 *
 * All that comes while a write is under way goes into the next one, which is one write and one sync. A write that failed is cut away.
 * An end without its line feed was told to nobody; any other damage means that something may be missing.
 */
import { mkdirSync, readdirSync, readFileSync, unlinkSync } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import type { Admission } from '../../proto/quotas/lease-round.ts'
import { startsOf } from '../../proto/quotas/lease-round.ts'
import { readFileIfThere, syncDirectory, writeFileAtomic } from '../../proto/runtime/atomic-file.ts'
import { remedyOf } from '../../proto/runtime/disk-remedy.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import { crc32c } from '../../proto/wire/crc32c.ts'
import type { Identity } from './lease-desk.ts'

/** The first line. */
interface Head {
  readonly version: number
  readonly epoch: string
  readonly boot: string
}

/** In the order in which they were decided. */
export interface JournaledAdmission {
  readonly tenant: string
  readonly lease: number
  readonly admission: Admission
}

/** Nobody was told of a decision, and nobody is to be. */
export interface JournaledVoid {
  readonly tenant: string
  readonly lease: number
  readonly void: number
}

/** Of an earlier start. */
export interface EarlierJournal {
  readonly epoch: string
  /** Without those that are void. */
  readonly admissions: readonly JournaledAdmission[]
  /** Nothing that anybody was told is missing. */
  readonly isWhole: boolean
}

const STARTS = 'starts'
const FILE = /^(\d{1,15}\.[0-9a-f]{8,64})\.log$/
const VERSION = 1

/** The directory of all of them. */
export class LeaseJournals {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** How often the collector started with this directory. */
  get starts(): number {
    mkdirSync(this.#directory, { recursive: true })
    const kept = Number(readFileIfThere(join(this.#directory, STARTS)) ?? 0)
    return Math.max(Number.isSafeInteger(kept) ? kept : 0, ...this.#epochs().map(startsOf))
  }

  /** Those of earlier starts. */
  earlier(): EarlierJournal[] {
    mkdirSync(this.#directory, { recursive: true })
    return this.#epochs().map((epoch) => readJournal(epoch, readFileSync(this.#path(epoch))))
  }

  remove(epoch: string): void {
    unlinkSync(this.#path(epoch))
  }

  /** A new one, made and synced. @throws FleetmeterError `FM_JOURNAL_IO` */
  async begin(identity: Identity): Promise<LeaseJournal> {
    try {
      mkdirSync(this.#directory, { recursive: true })
      writeFileAtomic(join(this.#directory, STARTS), `${startsOf(identity.epoch)}\n`)
      const file = await open(this.#path(identity.epoch), 'wx')
      const journal = new LeaseJournal(file)
      await journal.append({ version: VERSION, epoch: identity.epoch, boot: identity.boot })
      syncDirectory(this.#directory)
      return journal
    } catch (error) {
      throw new FleetmeterError('FM_JOURNAL_IO', `Cannot begin a journal of leases in "${this.#directory}"`, {
        cause: error,
      })
    }
  }

  #epochs(): string[] {
    return readdirSync(this.#directory)
      .map((name) => FILE.exec(name)?.[1])
      .filter((epoch) => epoch !== undefined)
  }

  #path(epoch: string): string {
    return join(this.#directory, `${epoch}.log`)
  }
}

interface Waiting {
  readonly line: string
  readonly done: () => void
  readonly failed: (error: unknown) => void
}

/** Of this start. */
export class LeaseJournal {
  readonly #file: FileHandle
  #waiting: Waiting[] = []
  #writing: Promise<void> | undefined
  #bytes = 0
  #problem: string | undefined
  #broken = false

  constructor(file: FileHandle) {
    this.#file = file
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Why the last write came to nothing; undefined: it did not. */
  get problem(): string | undefined {
    return this.#problem
  }

  /** Resolves when it is on the disk. @throws FleetmeterError `FM_JOURNAL_IO`; then nobody is to be told of it */
  append(entry: Head | JournaledAdmission | JournaledVoid): Promise<void> {
    const json = JSON.stringify(entry)
    return new Promise((done, failed) => {
      this.#waiting.push({ line: `${checksum(json)} ${json}\n`, done, failed })
      this.#writing ??= this.#write()
    })
  }

  async close(): Promise<void> {
    await this.#writing
    await this.#file.close()
  }

  async #write(): Promise<void> {
    await Promise.resolve() // what is asked in this turn is in it
    while (this.#waiting.length > 0) {
      const batch = this.#waiting
      this.#waiting = []
      try {
        await this.#put(Buffer.from(batch.map(({ line }) => line).join('')))
        for (const { done } of batch) done()
      } catch (error) {
        for (const { failed } of batch) failed(error)
      }
    }
    this.#writing = undefined
  }

  async #put(bytes: Buffer): Promise<void> {
    if (this.#broken)
      throw new FleetmeterError('FM_JOURNAL_IO', `The journal of leases takes nothing more: ${this.#problem}`)
    try {
      const { bytesWritten } = await this.#file.write(bytes, 0, bytes.length, this.#bytes)
      if (bytesWritten < bytes.length) throw Object.assign(new Error('a short write'), { code: 'ENOSPC' })
    } catch (error) {
      this.#problem = `${(error as Error).message}${remedyOf(error)}`
      await this.#file.truncate(this.#bytes).catch(() => {
        this.#broken = true
      })
      throw new FleetmeterError('FM_JOURNAL_IO', 'Cannot write to the journal of leases', { cause: error })
    }
    try {
      await this.#file.datasync()
    } catch (error) {
      // The kernel may have dropped what it could not write: nothing is known of this file any more.
      this.#broken = true
      this.#problem = `${(error as Error).message}${remedyOf(error)}`
      throw new FleetmeterError('FM_JOURNAL_IO', 'Cannot sync the journal of leases', { cause: error })
    }
    this.#bytes += bytes.length
    this.#problem = undefined
  }
}

/** Reads what is there of it. */
export function readJournal(epoch: string, bytes: Uint8Array): EarlierJournal {
  const lines = Buffer.from(bytes).toString('utf8').split('\n')
  lines.pop() // torn, or nothing: a write that was cut short ends without a line feed
  const values = lines.map(readLine)
  const head = values[0] as Partial<Head> | undefined
  const isWhole = head?.version === VERSION && head.epoch === epoch && !values.includes(undefined)
  const entries = values.slice(1).filter((value) => value !== undefined) as (JournaledAdmission | JournaledVoid)[]
  const voids = new Set(entries.flatMap((entry) => ('void' in entry ? [placeOf(entry, entry.void)] : [])))
  const admissions = entries.flatMap((entry) =>
    'admission' in entry && !voids.has(placeOf(entry, entry.admission.index)) ? [entry] : [],
  )
  return { epoch, admissions, isWhole }
}

function placeOf({ tenant, lease }: JournaledAdmission | JournaledVoid, index: number): string {
  return `${tenant}\n${lease}\n${index}`
}

function readLine(line: string): unknown {
  const json = line.slice(9)
  if (line.slice(0, 9) !== `${checksum(json)} `) return undefined
  return JSON.parse(json) as unknown
}

function checksum(json: string): string {
  return crc32c(Buffer.from(json)).toString(16).padStart(8, '0')
}
