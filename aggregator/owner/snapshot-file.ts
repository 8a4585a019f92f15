/**
 * States of the folds, so that the log before them can go. The last two are kept: where the newer one is damaged, the older one and the
 * log behind it say the same.
 *
 *     snapshot = "FMS1 " crc32c of all behind the first line, 8 hex digits "\n" JSON of a Snapshot
 */
import { join } from 'node:path'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { utf8Decode, utf8Encode } from '../../proto/wire/bytes.ts'
import { crc32c } from '../../proto/wire/crc32c.ts'
import type { KeptFiles } from './log-files.ts'

export interface Snapshot {
  /** W: every record up to here is in the states. */
  readonly appliedUpTo: number
  /** U: every row of records up to here is in ClickHouse. */
  readonly storedUpTo: number
  /** By the folds' names. */
  readonly folds: Readonly<Record<string, unknown>>
}

const NAME = /^snapshot-(\d+)\.json$/
const HEAD_BYTES = 'FMS1 01234567\n'.length
const KEPT = 2

export class SnapshotFiles {
  readonly #files: KeptFiles
  readonly #directory: string
  readonly #log: Logger
  /** Those that are there, the newest first. */
  #kept: { readonly name: string; readonly needs: number }[] = []

  constructor(files: KeptFiles, directory: string, log: Logger) {
    this.#files = files
    this.#directory = directory
    this.#log = log
  }

  /** The newest sound one. @throws FleetmeterError `FM_OWNER_LOG` when there are some, and none can be read */
  async load(): Promise<Snapshot | undefined> {
    await this.#files.makeDirectory(this.#directory)
    const names = (await this.#files.list(this.#directory)).filter((name) => NAME.test(name))
    names.sort((a, b) => Number(NAME.exec(b)![1]) - Number(NAME.exec(a)![1]))
    let newest: Snapshot | undefined
    const damaged: string[] = []
    for (const name of names) {
      const snapshot = decode(await this.#files.read(join(this.#directory, name)))
      if (snapshot === undefined) {
        damaged.push(name)
        continue
      }
      newest ??= snapshot
      this.#kept.push({ name, needs: Math.min(snapshot.appliedUpTo, snapshot.storedUpTo) })
    }
    if (newest === undefined && names.length > 0)
      throw new FleetmeterError(
        'FM_OWNER_LOG',
        `No snapshot in "${this.#directory}" can be read (${names.join(', ')}), and the log before them is gone: restore them from a copy, or start the version of this program that wrote them. Once they are removed (in PostgreSQL: from the table owner_files) the program goes on from the log alone, and tasks and quotas lack what came before it`,
      )
    for (const name of damaged) {
      this.#log.error(
        { file: name },
        'a snapshot of the owner is damaged: an older one is taken, with the log behind it',
      )
      await this.#files.rename(join(this.#directory, name), join(this.#directory, `${name}.damaged`))
    }
    return newest
  }

  /** @returns up to which position the log is needed no more */
  async save(snapshot: Snapshot): Promise<number> {
    const name = `snapshot-${snapshot.appliedUpTo}.json`
    const json = utf8Encode(JSON.stringify(snapshot))
    const head = utf8Encode(`FMS1 ${crc32c(json).toString(16).padStart(8, '0')}\n`)
    const content = new Uint8Array(head.length + json.length)
    content.set(head)
    content.set(json, head.length)
    await this.#files.replace(this.#directory, name, content)
    const others = this.#kept.filter((other) => other.name !== name)
    this.#kept = [{ name, needs: Math.min(snapshot.appliedUpTo, snapshot.storedUpTo) }, ...others]
    for (const { name: old } of this.#kept.slice(KEPT)) await this.#files.remove(join(this.#directory, old))
    this.#kept = this.#kept.slice(0, KEPT)
    return this.#kept.length < KEPT ? 0 : Math.min(...this.#kept.map(({ needs }) => needs))
  }
}

function decode(bytes: Uint8Array): Snapshot | undefined {
  const head = String.fromCharCode(...bytes.subarray(0, HEAD_BYTES))
  if (!/^FMS1 [0-9a-f]{8}\n$/.test(head)) return undefined
  if (crc32c(bytes, HEAD_BYTES) !== Number.parseInt(head.slice(5, 13), 16)) return undefined
  return JSON.parse(utf8Decode(bytes.subarray(HEAD_BYTES))) as Snapshot
}
