/**
 * The log of definitions as a file, one line of JSON for each change, synced before it is answered:
 *
 *     {"position":7,"records":[{"kind":"price","key":"0198…","body":{…}}]}
 *
 * A last line without an end was cut off by a crash and was never answered: it is cut off here too. Anything else that cannot be read
 * is damage, and said.
 */
import type { FileHandle } from 'node:fs/promises'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncDirectory } from '../../proto/runtime/atomic-file.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import { Turns } from '../query/turns.ts'
import type { DefinitionLog, DefinitionRecord, LoggedChange } from './definition-log.ts'

const NEWLINE = 10
const READ_BYTES = 256 * 1024
const PIECE_CHARACTERS = 64 * 1024

export class FileDefinitionLog implements DefinitionLog {
  readonly #path: string
  #file: FileHandle | undefined
  #end = 0
  /** Positions up to here were given out, if perhaps in another file. */
  #given = 0
  /** Bytes of whole lines: where the next one begins. */
  #bytes = 0

  constructor(path: string) {
    this.#path = path
  }

  get end(): number {
    return this.#end
  }

  async open(atLeast: number): Promise<void> {
    await this.close()
    this.#given = Math.max(this.#given, atLeast)
    try {
      this.#file = await open(this.#path, 'a+', 0o600)
      syncDirectory(dirname(this.#path))
      this.#bytes = 0
      this.#end = 0
      for await (const { position, bytes } of this.#lines()) {
        this.#end = position
        this.#bytes += bytes
      }
      await this.#file.truncate(this.#bytes)
      await this.#file.sync()
    } catch (error) {
      throw this.#failure('read', error)
    }
  }

  async append(records: readonly DefinitionRecord[]): Promise<number> {
    const file = this.#file
    if (file === undefined) throw this.#failure('write', new Error('it is not open'))
    const position = Math.max(this.#end, this.#given) + 1
    let bytes = 0
    try {
      for await (const piece of piecesOf({ position, records })) {
        await file.appendFile(piece)
        bytes += piece.length
      }
      await file.sync()
    } catch (error) {
      await this.close()
      throw this.#failure('write', error)
    }
    this.#end = position
    this.#bytes += bytes
    return position
  }

  async *replay(after: number): AsyncIterable<LoggedChange> {
    for await (const { position, records } of this.#lines()) if (position > after) yield { position, records }
  }

  async close(): Promise<void> {
    const file = this.#file
    this.#file = undefined
    await file?.close()
  }

  /** Whole lines, with how long each is. */
  async *#lines(): AsyncIterable<LoggedChange & { readonly bytes: number }> {
    const turns = new Turns()
    let before = 0
    let rest: Buffer[] = []
    const chunk = Buffer.alloc(READ_BYTES)
    for (let at = 0; ; ) {
      const { bytesRead } = await this.#file!.read(chunk, 0, READ_BYTES, at)
      if (bytesRead === 0) return
      at += bytesRead
      let from = 0
      for (let to = chunk.indexOf(NEWLINE); to >= 0 && to < bytesRead; to = chunk.indexOf(NEWLINE, from)) {
        const line = Buffer.concat([...rest, chunk.subarray(from, to)])
        rest = []
        from = to + 1
        const change = this.#read(line, before)
        before = change.position
        yield { ...change, bytes: line.length + 1 }
        if (turns.over) await turns.next()
      }
      if (from < bytesRead) rest.push(Buffer.from(chunk.subarray(from, bytesRead)))
    }
  }

  #read(line: Buffer, before: number): LoggedChange {
    let change: Partial<LoggedChange> | undefined
    try {
      change = JSON.parse(line.toString('utf8')) as Partial<LoggedChange>
    } catch {
      change = undefined
    }
    if (!Array.isArray(change?.records) || !Number.isSafeInteger(change.position) || change.position! <= before)
      throw new FleetmeterError(
        'FM_DEFINITIONS',
        `The log of definitions "${this.#path}" is damaged behind position ${before}: restore it from a backup, or move it away to go on with what the database has`,
      )
    return change as LoggedChange
  }

  #failure(action: string, error: unknown): FleetmeterError {
    if (error instanceof FleetmeterError) return error
    return new FleetmeterError(
      'FM_DEFINITIONS',
      `Cannot ${action} the log of definitions "${this.#path}": ${messageOf(error)}`,
      { cause: error },
    )
  }
}

/** The line of a change, in pieces that take a moment each. */
async function* piecesOf({ position, records }: LoggedChange): AsyncIterable<Buffer> {
  const turns = new Turns()
  let text = `{"position":${position},"records":[`
  for (const [i, record] of records.entries()) {
    text += `${i === 0 ? '' : ','}${JSON.stringify(record)}`
    if (text.length < PIECE_CHARACTERS) continue
    yield Buffer.from(text)
    text = ''
    if (turns.over) await turns.next()
  }
  yield Buffer.from(`${text}]}\n`)
}
