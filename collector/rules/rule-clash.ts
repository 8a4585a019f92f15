/**
 * Two rules must not write the same series: each would amend the other's figures for ever. Told before anything runs, from
 * the selectors alone; where they leave it open, it counts as a clash.
 */
import type { Selector } from '../../proto/wire/selector.ts'
import { METRIC_NAME } from '../../proto/wire/selector.ts'
import { outputName } from './output-labels.ts'
import type { Grouping, Rule } from './rule.ts'

export interface Clash {
  /** Index of the rules. */
  readonly first: number
  readonly second: number
  /** What both would write, without the metric's name. */
  readonly output: string
}

/** The pairs of rules that may write the same series. */
export function clashes(rules: readonly Rule[]): Clash[] {
  const found: Clash[] = []
  for (let second = 1; second < rules.length; second++) {
    for (let first = 0; first < second; first++) {
      const output = clash(rules[first]!, rules[second]!)
      if (output !== undefined) found.push({ first, second, output })
    }
  }
  return found
}

/** What two rules may both write, without the metric's name; undefined: they write other series each. */
export function clash(a: Rule, b: Rule): string | undefined {
  const output = sharedOutput(a, b)
  return output !== undefined && meet(a, b) ? output : undefined
}

/** The end of a name that both would write. */
function sharedOutput(a: Rule, b: Rule): string | undefined {
  const names = new Set(a.outputs.map(({ kind }) => outputName(a, '', kind)))
  return b.outputs.map(({ kind }) => outputName(b, '', kind)).find((name) => names.has(name))
}

/** Whether a series of one can fall into the same group as a series of the other. */
function meet(a: Rule, b: Rule): boolean {
  if (a.metric !== undefined && b.metric !== undefined) return a.metric === b.metric
  if (a.metric !== undefined) return b.match.some((selector) => selector.matchesName(a.metric!))
  if (b.metric !== undefined) return meet(b, a)
  return a.match.some((x) => b.match.some((y) => shareNames(x, y) && !differInGroup(x, y, a.grouping)))
}

/** Whether one name can match both. */
function shareNames(a: Selector, b: Selector): boolean {
  const names = literalNames(a) ?? literalNames(b)
  return names === undefined || names.some((name) => a.matchesName(name) && b.matchesName(name))
}

/** The names that a selector can match, where it lists them. */
function literalNames(selector: Selector): readonly string[] | undefined {
  for (const { op, name, value } of selector.matchers) {
    if (name !== METRIC_NAME) continue
    if (op === '=') return [value]
    if (op === '=~' && /^[\w:|]*$/.test(value)) return value.split('|')
  }
  return undefined
}

/** Whether both ask for one label of the group, with different values. */
function differInGroup(a: Selector, b: Selector, { kind, labels }: Grouping): boolean {
  return a.matchers.some(
    (x) =>
      x.op === '=' &&
      labels.includes(x.name) === (kind === 'by') &&
      b.matchers.some((y) => y.op === '=' && y.name === x.name && y.value !== x.value),
  )
}
