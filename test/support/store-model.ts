import type { SeriesDefinition } from '../../proto/wire/batch.ts'
import { decodeBatch, withSection } from '../../proto/wire/batch.ts'
import { decimalValue, RAW_FLOAT } from '../../proto/wire/decimal.ts'
import { readHistogram } from '../../proto/wire/native-histogram.ts'

/** What an aggregator does with batches, in the plainest form: the points (a histogram's is its sum) by identity, the larger arrival wins. */
export class StoreModel {
  readonly points: Map<string, { readonly at: number; readonly value: number }> = new Map()
  /** Items in stored batches, repeats included. */
  received = 0
  #dictionaries = new Map<string, Map<number, SeriesDefinition>>()

  /** Stores a batch. @returns references that nobody has described yet; nothing is stored then */
  store(bytes: Uint8Array): number[] {
    const { header, definitions, samples, extras, starts } = decodeBatch(bytes)
    const scope = `${header.collector}/${header.session}/${header.shard}`
    const dictionary = this.#dictionaries.get(scope) ?? new Map<number, SeriesDefinition>()
    this.#dictionaries.set(scope, dictionary)
    for (const definition of definitions) dictionary.set(definition.ref, definition)
    const refs = [...samples.refs, ...starts.map((s) => s.ref), ...extras.flatMap((e) => ('ref' in e ? [e.ref] : []))]
    const unknown = [...new Set(refs)].filter((ref) => !dictionary.has(ref))
    if (unknown.length > 0) return unknown
    const floats = new Float64Array(samples.words.slice().buffer)
    for (let i = 0; i < samples.count; i++) {
      const { name, labels } = dictionary.get(samples.refs[i]!)!
      const exponent = samples.exponents[i]!
      const mantissa = (samples.words[2 * i + 1]! | 0) * 2 ** 32 + samples.words[2 * i]!
      const value = exponent === RAW_FLOAT ? floats[i]! : decimalValue(mantissa, exponent)
      this.#put(`${name}${JSON.stringify(labels)}@${samples.times[i]}`, samples.arrivals[i]!, value)
    }
    for (const extra of extras) {
      if (extra.kind !== 'histogram') continue
      const { name, labels } = dictionary.get(extra.ref)!
      const histogram = readHistogram(extra.message)
      if ('problem' in histogram) throw new Error(histogram.problem)
      this.#put(`histogram ${name}${JSON.stringify(labels)}@${extra.time}`, extra.arrival, histogram.sum)
    }
    this.received += samples.count + extras.length
    return []
  }

  /** A tie is decided by the order of inserts, which means by nobody: writers must not tie. */
  #put(key: string, at: number, value: number): void {
    const before = this.points.get(key)
    if (before === undefined || at >= before.at) this.points.set(key, { at, value })
  }

  /** Stores a batch whose series its sender describes when asked. @returns false when the sender cannot */
  storeDescribed(bytes: Uint8Array, describe: (refs: number[]) => { found: number; section: Uint8Array }): boolean {
    const unknown = this.store(bytes)
    if (unknown.length === 0) return true
    const { found, section } = describe(unknown)
    return found === unknown.length && this.store(withSection(bytes, section)).length === 0
  }

  /** A restart: what is stored stays, what was described is forgotten. */
  restart(): void {
    this.#dictionaries = new Map()
  }
}
