/**
 * Records that are kept for a person and passed over, since whatever is wrong with one, those behind it must not wait for ever:
 *
 *     quarantine/record-POSITION.bin   its body cannot be read by this version; tried again by each start
 *     quarantine/failed-POSITION.bin   replaying it failed by a defect of ours; passed over as long as the file is there
 *
 * What a defect leaves in memory is not to be trusted, so the shard is opened anew; and without a note of it, each start would come
 * to that record again. Many that fail are no matter of a record: then nothing more is set aside, and the shard stays shut.
 */
import { join } from 'node:path'
import { remedyOf } from '../../proto/runtime/disk-remedy.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import type { Files } from '../journal/files.ts'
import type { JournalRecord } from '../journal/record.ts'

const FAILED = /^failed-(\d+)\.bin$/
const FAILED_MAX = 10

/** A record met a defect of ours: the core that it happened to is to be thrown away. */
export class ReplayFailure extends Error {
  /** It is passed over from now on. */
  readonly isSetAside: boolean

  constructor(message: string, isSetAside: boolean, cause: unknown) {
    super(message, { cause })
    this.isSetAside = isSetAside
  }
}

export class SetAside {
  readonly #files: Files
  readonly #directory: string
  readonly #failed = new Set<number>()

  /** @param directory that is there */
  constructor(files: Files, directory: string) {
    this.#files = files
    this.#directory = directory
    for (const name of files.list(directory)) {
      const [, position] = FAILED.exec(name) ?? []
      if (position !== undefined) this.#failed.add(Number(position))
    }
  }

  /** Whether replaying the record has failed before. Positions begin anew where a journal does: the body has to be the same. */
  has({ position, body }: JournalRecord): boolean {
    if (!this.#failed.has(position)) return false
    const kept = this.#files.readBytes(this.#pathOf('failed', position))
    return kept !== undefined && Buffer.compare(kept, body) === 0
  }

  /** @throws FleetmeterError `FM_JOURNAL_IO` */
  unreadable({ position, body }: JournalRecord): void {
    const path = this.#pathOf('record', position)
    try {
      this.#files.write(path, body)
    } catch (error) {
      throw new FleetmeterError(
        'FM_JOURNAL_IO',
        `Cannot keep an unreadable record aside as "${path}": ${messageOf(error)}${remedyOf(error)}`,
      )
    }
  }

  failed({ position, count, door, body }: JournalRecord, defect: unknown): ReplayFailure {
    const path = this.#pathOf('failed', position)
    const what = `Cannot replay the record at position ${position} (${count} items of ${door}): ${messageOf(defect)}`
    if (this.#failed.size >= FAILED_MAX)
      return new ReplayFailure(
        `${what}. ${FAILED_MAX} records are set aside already, so it is not the records: run the version of before, nothing is lost`,
        false,
        defect,
      )
    try {
      this.#files.replace(path, body)
    } catch (error) {
      return new ReplayFailure(
        `${what}. It cannot be set aside as "${path}": ${messageOf(error)}${remedyOf(error)}`,
        false,
        defect,
      )
    }
    return new ReplayFailure(`${what}. Its body is kept as "${path}", and it is passed over from now on`, true, defect)
  }

  #pathOf(kind: 'record' | 'failed', position: number): string {
    return join(this.#directory, `${kind}-${position}.bin`)
  }
}
