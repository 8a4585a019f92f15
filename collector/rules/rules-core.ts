/**
 * What becomes of the windows that shards give out: merged over the shards, and appended to the rules' own journal as samples.
 * An output that cannot be appended waits, and no further ones are made until it was.
 */

import type { MergerOptions } from './merger.ts'
import { Merger } from './merger.ts'
import type { OutputBody } from './output-bodies.ts'
import { OutputBodies } from './output-bodies.ts'
import { rulesInForce } from './read-rules.ts'
import type { TimedEmission } from './shard-rules.ts'

export interface RulesCoreOptions extends MergerOptions {
  readonly rules: readonly unknown[]
  /** Numbers of the shards that rules are fed by. */
  readonly shards: readonly number[]
  /** Of the shards whose emissions are meant. */
  readonly session: string
}

/** A write has room for so many items only; outputs that are appended twice are the same. */
const BODIES_PER_WRITE = 20

export class RulesCore {
  /** Outputs appended. */
  outputs = 0
  readonly #shards: readonly number[]
  readonly #session: string
  readonly #merger: Merger
  readonly #append: (bodies: readonly OutputBody[]) => boolean
  readonly #bodies = new OutputBodies((body) => this.#give(body))
  readonly #waiting: OutputBody[] = []
  #failure: { readonly error: unknown } | undefined
  /** By shard: emissions that are not kept yet, and the last that is. */
  readonly #emissions: { readonly time: number; readonly through: readonly number[] }[][]
  readonly #kept: number[]

  /** @param append takes all that it is given, one write, or none; false: later */
  constructor(options: RulesCoreOptions, append: (bodies: readonly OutputBody[]) => boolean) {
    this.#shards = options.shards
    this.#session = options.session
    this.#merger = new Merger(rulesInForce(options.rules), options.shards.length, options)
    this.#append = append
    this.#emissions = options.shards.map(() => [])
    this.#kept = options.shards.map(() => 0)
  }

  /** By shard: the latest emission whose outputs are all appended, by its time, ms; 0: none. */
  get kept(): readonly number[] {
    return this.#kept
  }

  /** Groups of parts that came when their window was forgotten. */
  get late(): number {
    return this.#merger.late
  }

  /**
   * Takes what a shard emitted, in the order in which it did; what it emitted under rules of before is passed over.
   * @returns the latest emission of the shard whose outputs are all appended, by its time, ms: a window is only complete when
   *   every shard has emitted it. 0: none
   */
  take(shard: number, emission: TimedEmission): number {
    if (emission.session !== this.#session) return 0
    const place = this.#shards.indexOf(shard)
    this.#merger.take(place, emission)
    this.#emissions[place]!.push({ time: emission.time, through: emission.through })
    if (this.advance()) this.#settle()
    return this.#kept[place]!
  }

  /** Appends what there is to append. @returns whether nothing waits */
  advance(): boolean {
    while (this.#waiting.length > 0) {
      const bodies = this.#waiting.slice(0, BODIES_PER_WRITE)
      if (!this.#append(bodies)) return false
      this.#waiting.splice(0, bodies.length)
      this.#count(bodies)
    }
    this.#merger.give(this.#bodies)
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure.error
    return this.#waiting.length === 0
  }

  /** Appends a body as soon as it is full, or keeps a copy: the next one takes its memory. */
  #give(body: OutputBody): void {
    if (this.#waiting.length === 0 && this.#tryToAppend([body])) return
    this.#waiting.push({ ...body, body: body.body.slice() })
  }

  /** What it throws is thrown when all outputs that were under way are kept: they are not made again. */
  #tryToAppend(bodies: readonly OutputBody[]): boolean {
    try {
      if (!this.#append(bodies)) return false
    } catch (error) {
      this.#failure = { error }
      return false
    }
    this.#count(bodies)
    return true
  }

  #count(bodies: readonly OutputBody[]): void {
    for (const { outputs } of bodies) this.outputs += outputs
  }

  /** Emissions whose windows every shard has emitted are kept. */
  #settle(): void {
    const { through } = this.#merger
    for (const [place, emissions] of this.#emissions.entries()) {
      while (emissions[0]?.through.every((end, rule) => end <= through[rule]!)) {
        this.#kept[place] = emissions.shift()!.time
      }
    }
  }
}
