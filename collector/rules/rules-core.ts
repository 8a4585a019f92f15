/**
 * What becomes of the windows that shards give out: merged over the shards, and appended to the rules' own journal as samples.
 * An output that cannot be appended waits, and no further ones are made until it was.
 */

import type { MergerOptions } from './merger.ts'
import { Merger } from './merger.ts'
import type { OutputBody } from './output-bodies.ts'
import { outputBodies } from './output-bodies.ts'
import { rulesInForce } from './read-rules.ts'
import type { Emission } from './shard-rules.ts'

export interface RulesCoreOptions extends MergerOptions {
  readonly rules: readonly unknown[]
  /** Numbers of the shards that rules are fed by. */
  readonly shards: readonly number[]
}

export class RulesCore {
  /** Outputs appended. */
  outputs = 0
  readonly #shards: readonly number[]
  readonly #merger: Merger
  readonly #append: (bodies: readonly OutputBody[]) => boolean
  #waiting: readonly OutputBody[] = []
  #waitingOutputs = 0

  /** @param append takes all of them or none; false: later */
  constructor(options: RulesCoreOptions, append: (bodies: readonly OutputBody[]) => boolean) {
    this.#shards = options.shards
    this.#merger = new Merger(rulesInForce(options.rules), options.shards.length, options)
    this.#append = append
  }

  /** Groups of parts that came when their window was forgotten. */
  get late(): number {
    return this.#merger.late
  }

  /** @returns whether everything that can be made of what came so far is appended */
  take(shard: number, emission: Emission): boolean {
    this.#merger.take(this.#shards.indexOf(shard), emission)
    return this.advance()
  }

  /** Appends what there is to append. @returns whether nothing waits */
  advance(): boolean {
    for (;;) {
      if (this.#waiting.length > 0 && !this.#append(this.#waiting)) return false
      this.outputs += this.#waitingOutputs
      const points = this.#merger.give()
      this.#waiting = outputBodies(points)
      this.#waitingOutputs = points.length
      if (points.length === 0) return true
    }
  }
}
