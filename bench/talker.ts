/** Processes of the bench that answer lines with lines. */
import type { ChildProcess } from 'node:child_process'
import type { Interface } from 'node:readline'
import { createInterface } from 'node:readline'
import type { LoadJob, LoadPart, LoadResult } from './load.process.ts'
import { startScript } from './processes.ts'
import type { Forwarded, Received } from './sink.process.ts'

/** A script of this folder that answers lines with lines. */
export class Talker {
  readonly #process: ChildProcess
  readonly #lines: Interface
  readonly #next: AsyncIterator<string>

  constructor(script: string, args: readonly string[]) {
    this.#process = startScript(script, args)
    this.#lines = createInterface({ input: this.#process.stdout! })
    this.#next = this.#lines[Symbol.asyncIterator]()
  }

  get pid(): number {
    return this.#process.pid!
  }

  async line(): Promise<string> {
    const { value, done } = await this.#next.next()
    if (done === true) throw new Error('a process of the bench ended')
    return value
  }

  ask(line: string): Promise<string> {
    this.#process.stdin!.write(`${line}\n`)
    return this.line()
  }

  end(): void {
    this.#process.stdin!.end()
  }
}

/** See load.process.ts. */
export class Load {
  readonly #talker: Talker
  readonly #ready: Promise<string>

  constructor(job: LoadJob) {
    this.#talker = new Talker('./load.process.ts', [JSON.stringify(job)])
    this.#ready = this.#talker.line()
  }

  async ready(): Promise<void> {
    await this.#ready
  }

  /** What is to be sent next, so that making it is not in what is measured. */
  async make({ first, end }: Pick<LoadPart, 'first' | 'end'>): Promise<void> {
    await this.#talker.ask(JSON.stringify({ first, end }))
  }

  async send(part: LoadPart): Promise<LoadResult> {
    return JSON.parse(await this.#talker.ask(JSON.stringify(part))) as LoadResult
  }

  end(): void {
    this.#talker.end()
  }
}

/** See sink.process.ts. */
export class Sink {
  readonly #talker = new Talker('./sink.process.ts', [])

  /** To be asked for once, first. */
  url(): Promise<string> {
    return this.#talker.line()
  }

  /** What came since the last time. */
  async received(): Promise<Received> {
    return JSON.parse(await this.#talker.ask('count')) as Received
  }

  end(): void {
    this.#talker.end()
  }
}

/** Sums are of many terms, in another order. @throws Error when what came is not what was to come */
export function checkForwarded(got: Forwarded, samples: number, sum: number): void {
  if (got.samples !== samples || Math.abs(got.sum - sum) > 1e-9 * Math.abs(sum))
    throw new Error(`the sink has ${got.samples} samples, sum ${got.sum}; to come were ${samples}, ${sum}`)
}
