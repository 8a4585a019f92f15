/**
 * The rules' half in their own thread: shards' parts of a window become its outputs.
 *
 *     parts of shard 0 ─┐  replace what the shard   ┌─ every shard has emitted ─▶ outputs that differ from
 *     parts of shard 1 ─┴▶ told of the group before ┴─ everything up to the end   those given out before
 *
 * Parts are absolute: a shard that is asked again, or restarts and replays, changes nothing unless its points changed.
 */
import type { Needs } from './group-state.ts'
import { GroupState, needsOf, quantile, sortedValues } from './group-state.ts'
import { MergedWindow } from './merged-window.ts'
import { OutputGroups } from './output-groups.ts'
import type { RowOutput } from './output-values.ts'
import { floatOfRow, floatOfState } from './output-values.ts'
import type { Part } from './part.ts'
import { absorb } from './part.ts'
import type { Output, Rule } from './rule.ts'
import type { SampleHistogram } from './sample-histogram.ts'
import type { Emission } from './shard-rules.ts'

/** Takes what an output series has at a window's end (ms). */
export interface OutputSink {
  /** @param group its number. @param series which of the group's */
  float(groups: OutputGroups, group: number, series: number, time: number, value: number): void
  /** The same of each series of the group, by series. */
  floats(groups: OutputGroups, group: number, time: number, values: Float64Array): void
  histogram(groups: OutputGroups, group: number, series: number, time: number, histogram: SampleHistogram): void
  /** What was given out before is no longer so, and nothing stands in its place. */
  none(groups: OutputGroups, group: number, series: number, time: number): void
  /** For now that was all: groups may be forgotten. */
  flush(): void
}

export interface MergerOptions {
  /** As the shards': when a window no longer changes, ms. */
  readonly keepMs: number
  /** The collector's id, for the label. */
  readonly collector: string
}

interface MergedRule {
  readonly rule: Rule
  readonly needs: Needs
  readonly windows: Map<number, MergedWindow>
  /** By shard. */
  readonly through: number[]
  /** Windows that end here or before are forgotten. */
  forgotten: number
  readonly groups: OutputGroups
  /** For the outputs of a group, one each. */
  readonly outputs: readonly { readonly kind: Output['kind']; readonly phi: number }[]
  /** Of the group in hand, by output: its value, and 1 where that is new. */
  readonly values: Float64Array
  readonly fresh: Uint8Array
}

const NO_VALUES = new Float64Array(0)

export class Merger {
  /** Groups of parts that came when their window was forgotten. */
  late = 0
  readonly #rules: readonly MergedRule[]
  readonly #options: MergerOptions
  readonly #shards: number

  /** @param shards how many there are; nothing is given out before each has emitted */
  constructor(rules: readonly Rule[], shards: number, options: MergerOptions) {
    this.#options = options
    this.#shards = shards
    this.#rules = rules.map((rule, index) => {
      const groups = new OutputGroups(index, rule, options.collector, shards)
      return {
        rule,
        needs: needsOf(rule),
        windows: new Map(),
        through: new Array<number>(shards).fill(Number.NEGATIVE_INFINITY),
        forgotten: Number.NEGATIVE_INFINITY,
        groups,
        outputs: rule.outputs.flatMap((output): MergedRule['outputs'] =>
          output.kind === 'quantiles'
            ? output.phis.map((phi) => ({ kind: output.kind, phi }))
            : [{ kind: output.kind, phi: Number.NaN }],
        ),
        values: new Float64Array(groups.width),
        fresh: new Uint8Array(groups.width),
      }
    })
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

  /** Gives the outputs that changed, of windows that all shards have emitted; oldest window of a rule first. */
  give(sink: OutputSink): void {
    try {
      for (const merged of this.#rules) giveRule(merged, sink)
    } finally {
      sink.flush()
    }
    for (const merged of this.#rules) this.#forget(merged, Math.min(...merged.through))
  }

  #replace(shard: number, part: Part): void {
    const merged = this.#rules[part.rule]!
    for (const [i, row] of part.named.entries()) merged.groups.name(shard, part.groups[row]!, part.names[i]!)
    if (part.end <= merged.forgotten) {
      this.late += part.groups.length
      return
    }
    const { windows, groups, outputs } = merged
    let window = windows.get(part.end)
    if (window === undefined) {
      window = new MergedWindow(this.#shards, outputs.length, groups.length)
      windows.set(part.end, window)
    }
    if (part.complete) window.clear(shard)
    const number = window.push(shard, part)
    for (let row = 0; row < part.groups.length; row++) {
      const group = groups.numberOf(shard, part.groups[row]!, part.end)
      // Named to a thread that is gone: the shard, once it is told, tells all again.
      if (group >= 0) window.tell(shard, group, number, row)
    }
  }

  /** One interval later than shards do: what they sent last is still taken. */
  #forget(merged: MergedRule, through: number): void {
    const { windows, rule, groups } = merged
    const last = through - this.#options.keepMs - 2 * rule.intervalMs
    if (last <= merged.forgotten) return
    merged.forgotten = last
    for (const end of windows.keys()) if (end <= last) windows.delete(end)
    const used = [...windows.values()].reduce((n, window) => Math.max(n, window.groups), 0)
    // Nearly all groups are the same from window to window.
    if (groups.size > 2 * used + 100) groups.forget(last)
  }
}

function giveRule(merged: MergedRule, sink: OutputSink): void {
  const through = Math.min(...merged.through)
  const ends = [...merged.windows.keys()].filter((end) => end <= through).sort((a, b) => a - b)
  for (const end of ends) {
    const window = merged.windows.get(end)!
    for (const group of window.takeChanged()) {
      // Usually a group is of one shard, and its row says it all.
      if (merged.needs.rowSuffices && window.partsOf(group) === 1) giveRow(merged, end, window, group, sink)
      else giveGroup(merged, end, window, group, sink)
    }
  }
}

/** Of a group that {@link MergedWindow.partsOf} was just asked of. Hot. */
function giveRow(merged: MergedRule, end: number, window: MergedWindow, group: number, sink: OutputSink): void {
  const { outputs, groups, values, fresh } = merged
  const { part, row } = window
  if (part!.count[row] === 0) {
    for (let i = 0; i < outputs.length; i++) if (window.setNone(group, i)) sink.none(groups, group, i, end)
    return
  }
  let changed = 0
  for (let i = 0; i < outputs.length; i++) {
    const value = floatOfRow(outputs[i]!.kind as RowOutput, part!, row)
    const isNew = window.setFloat(group, i, value)
    values[i] = value
    fresh[i] = isNew ? 1 : 0
    if (isNew) changed++
  }
  if (changed === outputs.length) sink.floats(groups, group, end, values)
  else for (let i = 0; i < outputs.length; i++) if (fresh[i] === 1) sink.float(groups, group, i, end, values[i]!)
}

function giveGroup(merged: MergedRule, end: number, window: MergedWindow, group: number, sink: OutputSink): void {
  const { outputs, needs, rule, groups } = merged
  const state = new GroupState(needs)
  window.eachPart(group, (part, row) => absorb(state, needs, part, row))
  const empty = state.count === 0
  const sorted = state.values === undefined || empty ? NO_VALUES : sortedValues(state.values)
  for (const [i, { kind, phi }] of outputs.entries()) {
    if (!empty && kind === 'histogram') {
      const histogram = state.buckets!.histogram(state.count, state.sum!.value)
      if (window.setHistogram(group, i, histogram)) sink.histogram(groups, group, i, end, histogram)
      continue
    }
    let value: number | undefined
    if (empty || kind === 'histogram') value = undefined
    else if (kind === 'quantiles') value = quantile(phi, sorted)
    else value = floatOfState(kind, state, rule)
    if (value === undefined) {
      if (window.setNone(group, i)) sink.none(groups, group, i, end)
    } else if (window.setFloat(group, i, value)) sink.float(groups, group, i, end, value)
  }
}
