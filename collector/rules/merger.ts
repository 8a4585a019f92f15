/**
 * The rules' half in their own thread: shards' parts of a window become its outputs.
 *
 *     parts of shard 0 ─┐  replace what the shard   ┌─ every shard has emitted ─▶ outputs that differ from
 *     parts of shard 1 ─┴▶ told of the group before ┴─ everything up to the end   those given out before
 *
 * Parts are absolute: a shard that is asked again, or restarts and replays, changes nothing unless its points changed.
 */
import type { Label } from '../../proto/wire/labels.ts'
import type { Needs } from './group-state.ts'
import { GroupState, needsOf, quantile, sortedValues } from './group-state.ts'
import type { GroupKey, OutputSeries } from './output-labels.ts'
import { outputSeries } from './output-labels.ts'
import type { Part } from './part.ts'
import { absorb } from './part.ts'
import type { Rule } from './rule.ts'
import type { SampleHistogram } from './sample-histogram.ts'
import { sameHistogram } from './sample-histogram.ts'
import type { Emission } from './shard-rules.ts'

/** What an output series has at a window's end. `none`: what was given out before is no longer so, and nothing stands in its place. */
export type OutputValue =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'histogram'; readonly histogram: SampleHistogram }
  | { readonly kind: 'none' }

export interface OutputPoint {
  /** Index of the rule. */
  readonly rule: number
  readonly tenant: string
  /** In canonical order, `__name__` included; the same array each time that the group is given out. */
  readonly labels: readonly Label[]
  /** End of the window, ms. */
  readonly time: number
  readonly output: OutputValue
}

export interface MergerOptions {
  /** As the shards': when a window no longer changes, ms. */
  readonly keepMs: number
  /** The collector's id, for the label. */
  readonly collector: string
}

const NONE: OutputValue = { kind: 'none' }

/** A group in a window. */
interface Group {
  /** By shard: where its part is. */
  readonly parts: ({ readonly part: Part; readonly index: number } | undefined)[]
  /** What was given out, in the order of the rule's series; empty: nothing yet. */
  given: readonly OutputValue[]
}

interface MergedWindow {
  readonly groups: Map<GroupKey, Group>
  /** Groups that may differ from what was given out. */
  readonly changed: Set<GroupKey>
}

interface MergedRule {
  readonly rule: Rule
  readonly needs: Needs
  readonly windows: Map<number, MergedWindow>
  /** By shard. */
  readonly through: number[]
  /** Windows that end here or before are forgotten. */
  forgotten: number
  names: Map<GroupKey, ReturnType<typeof outputSeries>>
}

export class Merger {
  /** Groups of parts that came when their window was forgotten. */
  late = 0
  readonly #rules: readonly MergedRule[]
  readonly #options: MergerOptions

  /** @param shards how many there are; nothing is given out before each has emitted */
  constructor(rules: readonly Rule[], shards: number, options: MergerOptions) {
    this.#options = options
    this.#rules = rules.map((rule) => ({
      rule,
      needs: needsOf(rule),
      windows: new Map(),
      through: new Array<number>(shards).fill(Number.NEGATIVE_INFINITY),
      forgotten: Number.NEGATIVE_INFINITY,
      names: new Map(),
    }))
  }

  /** By rule: up to which window end every shard has emitted. */
  get through(): number[] {
    return this.#rules.map((merged) => Math.min(...merged.through))
  }

  /** Takes what a shard emitted; in the order in which it did. */
  take(shard: number, emission: Pick<Emission, 'parts' | 'through'>): void {
    for (const part of emission.parts) this.#replace(shard, part)
    for (const [rule, through] of emission.through.entries()) this.#rules[rule]!.through[shard] = through
  }

  /** The outputs that changed, of windows that all shards have emitted; oldest window of a rule first. */
  give(): OutputPoint[] {
    const points: OutputPoint[] = []
    for (const [index, merged] of this.#rules.entries()) {
      const through = Math.min(...merged.through)
      const ends = [...merged.windows.keys()].filter((end) => end <= through).sort((a, b) => a - b)
      for (const end of ends) {
        const window = merged.windows.get(end)!
        for (const key of window.changed) this.#giveGroup(index, merged, end, key, window.groups.get(key)!, points)
        window.changed.clear()
      }
      this.#forget(merged, through)
    }
    return points
  }

  #replace(shard: number, part: Part): void {
    const merged = this.#rules[part.rule]!
    if (part.end <= merged.forgotten) {
      this.late += part.groups.length
      return
    }
    let window = merged.windows.get(part.end)
    if (window === undefined) {
      window = { groups: new Map(), changed: new Set() }
      merged.windows.set(part.end, window)
    }
    if (part.complete) {
      for (const [key, group] of window.groups) {
        if (group.parts[shard] === undefined) continue
        group.parts[shard] = undefined
        window.changed.add(key)
      }
    }
    for (const [index, key] of part.groups.entries()) {
      let group = window.groups.get(key)
      if (group === undefined) {
        group = { parts: [], given: [] }
        window.groups.set(key, group)
      }
      group.parts[shard] = { part, index }
      window.changed.add(key)
    }
  }

  #giveGroup(rule: number, merged: MergedRule, time: number, key: GroupKey, group: Group, points: OutputPoint[]): void {
    const state = new GroupState(merged.needs)
    for (const part of group.parts) if (part !== undefined) absorb(state, merged.needs, part.part, part.index)
    const { tenant, series } = this.#names(merged, key)
    const outputs = outputsOf(state, series, merged.rule)
    for (const [i, output] of outputs.entries()) {
      const { labels } = series[i]!
      const given = group.given[i] ?? NONE
      if (!same(output, given)) points.push({ rule, tenant, labels, time, output })
    }
    group.given = outputs
  }

  #names(merged: MergedRule, key: GroupKey): ReturnType<typeof outputSeries> {
    let names = merged.names.get(key)
    if (names === undefined) {
      names = outputSeries(merged.rule, key, this.#options.collector)
      merged.names.set(key, names)
    }
    return names
  }

  /** One interval later than shards do: what they sent last is still taken. */
  #forget(merged: MergedRule, through: number): void {
    const { windows, rule } = merged
    const last = through - this.#options.keepMs - 2 * rule.intervalMs
    if (last <= merged.forgotten) return
    merged.forgotten = last
    for (const end of windows.keys()) if (end <= last) windows.delete(end)
    const used = [...windows.values()].reduce((n, { groups }) => Math.max(n, groups.size), 0)
    // Names of groups that no window has any more; nearly all are the same from window to window.
    if (merged.names.size > 2 * used + 100) merged.names = new Map()
  }
}

/** What an output asks for is in the state: `needsOf` is of the same rule. */
function outputsOf(state: GroupState, series: readonly OutputSeries[], { intervalMs }: Rule): OutputValue[] {
  if (state.count === 0) return series.map(() => NONE)
  let sorted: Float64Array | undefined
  return series.map(({ output, phi }): OutputValue => {
    switch (output.kind) {
      case 'count':
        return float(state.count)
      case 'sum':
        return float(state.sum!.value)
      case 'avg':
        return float(state.sum!.mean(state.count))
      case 'min':
        return float(state.min)
      case 'max':
        return float(state.max)
      case 'last':
        return float(state.last)
      case 'increase':
        return state.steps === 0 ? NONE : float(state.increase!.value)
      case 'rate':
        return state.steps === 0 ? NONE : float(state.increase!.value / (intervalMs / 1000))
      case 'quantiles':
        sorted ??= sortedValues(state.values!)
        return float(quantile(phi!, sorted)) // series of quantiles have one
      case 'histogram':
        return { kind: 'histogram', histogram: state.buckets!.histogram(state.count, state.sum!.value) }
      default:
        return output satisfies never
    }
  })
}

function float(value: number): OutputValue {
  return { kind: 'float', value }
}

/** Bit for bit. */
function same(a: OutputValue, b: OutputValue): boolean {
  if (a.kind === 'float') return b.kind === 'float' && Object.is(a.value, b.value)
  if (a.kind === 'histogram') return b.kind === 'histogram' && sameHistogram(a.histogram, b.histogram)
  return b.kind === 'none'
}
