/** A script of this folder that answers lines with lines. */
import type { ChildProcess } from 'node:child_process'
import type { Interface } from 'node:readline'
import { createInterface } from 'node:readline'
import { startScript } from './processes.ts'

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
