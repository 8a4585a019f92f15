/**
 * Rules out of the configuration file:
 *
 *     rules:
 *       - match: '{__name__=~"DCGM_FI_DEV_.*"}'     one selector or a list
 *         interval: 1m                              1s to 1h, a divisor of a day
 *         by: [Hostname]                            or without: […]; neither: one group a metric
 *         outputs: [avg, max, 'quantiles(0.5, 0.99)']
 *         keep_input: true                          default
 *         grace: 5s                                 default
 *         name: gpus                                default: the first selector
 *         metric: gpu                               default: the series' own name
 *
 * Everything that is wrong is said at once, each with its place.
 */
import * as v from 'valibot'
import type { Selector } from '../../proto/wire/selector.ts'
import { METRIC_NAME, parseSelector, SelectorError } from '../../proto/wire/selector.ts'
import type { Grouping, Output, PlainOutput, Rule } from './rule.ts'
import { formatDuration, OVERFLOW_RULE, PLAIN_OUTPUTS, parseDuration } from './rule.ts'
import { clashes } from './rule-clash.ts'

const SECOND = 1000
const HOUR = 3_600_000
const DAY = 24 * HOUR
const GRACE_DEFAULT = '5s' // a sender's usual pause between two requests; what comes later amends
const RULES_MAX = 1000
const PHIS_MAX = 20

const EXPECTED_OUTPUT = `expected one of ${PLAIN_OUTPUTS.join(', ')}, quantiles(0.5, 0.99)`
const EXPECTED_INTERVAL = 'expected a duration from 1s to 1h that divides a day, such as 30s, 1m or 5m'

/** A field that is read from whatever stands in the file. @param read answers undefined for what is not allowed */
const field = <T>(expected: string, read: (given: unknown) => T | undefined) =>
  v.pipe(
    v.unknown(),
    v.rawTransform(({ dataset, addIssue, NEVER }): T => {
      const value = read(dataset.value)
      if (value !== undefined) return value
      addIssue({ message: expected })
      return NEVER
    }),
  )

const selector = v.pipe(
  v.string('expected a selector'),
  v.rawTransform(({ dataset, addIssue, NEVER }): Selector => {
    try {
      return parseSelector(dataset.value)
    } catch (error) {
      if (!(error instanceof SelectorError)) throw error
      addIssue({ message: `not a selector, ${error.message}` })
      return NEVER
    }
  }),
)

const duration = (expected: string, allowed: (ms: number) => boolean) =>
  field(expected, (given) => {
    const ms = typeof given === 'string' ? parseDuration(given) : undefined
    return ms !== undefined && allowed(ms) ? ms : undefined
  })

const text = v.pipe(v.string('expected text'), v.nonEmpty('expected text'))
const label = field('expected the name of a label, not __name__: that is always part of the group', (given) =>
  typeof given === 'string' && given !== '' && given !== METRIC_NAME ? given : undefined,
)
const labels = v.optional(v.array(label, 'expected a list of label names'))

const KEYS = {
  name: v.optional(text),
  match: v.pipe(v.array(selector), v.minLength(1, 'expected at least one selector')),
  interval: duration(EXPECTED_INTERVAL, (ms) => ms >= SECOND && ms <= HOUR && DAY % ms === 0),
  by: labels,
  without: labels,
  outputs: v.pipe(
    v.array(field(EXPECTED_OUTPUT, readOutput), 'expected a list of outputs'),
    v.minLength(1, 'expected at least one output'),
  ),
  keep_input: v.optional(v.boolean('expected true or false'), true),
  grace: v.optional(
    duration('expected a duration up to 1h, such as 5s', (ms) => ms <= HOUR),
    GRACE_DEFAULT,
  ),
  metric: v.optional(text),
}
/** The same, with a selector that is not in a list. */
const KEYS_OF_ONE = { ...KEYS, match: selector }

/** What was read; rules are empty when there are problems. */
export interface ReadRules {
  readonly rules: readonly Rule[]
  readonly problems: readonly string[]
}

/** @param value what YAML or JSON gave. @param place how problems name it */
/** The rules of a configuration that was read before, and the one that is always there, last. */
export function rulesInForce(written: readonly unknown[]): Rule[] {
  return [...readRules(written).rules, OVERFLOW_RULE]
}

export function readRules(value: unknown, place = 'rules'): ReadRules {
  if (!Array.isArray(value)) return { rules: [], problems: [`${place}: expected a list of rules`] }
  if (value.length > RULES_MAX) return { rules: [], problems: [`${place}: expected at most ${RULES_MAX} rules`] }
  const problems: string[] = []
  const rules = value.flatMap((one: unknown, i) => readRule(one, `${place}[${i}]`, problems) ?? [])
  if (problems.length === 0) {
    for (const { first, second, output } of clashes(rules))
      problems.push(
        `${place}[${second}]: would write the same series as ${place}[${first}] (…${output}): give one of them another metric`,
      )
  }
  return { rules: problems.length === 0 ? rules : [], problems }
}

function readRule(value: unknown, place: string, problems: string[]): Rule | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    problems.push(`${place}: expected settings such as match, interval and outputs`)
    return undefined
  }
  const before = problems.length
  const given = value as Readonly<Record<string, unknown>>
  for (const key of Object.keys(given)) {
    if (!Object.hasOwn(KEYS, key))
      problems.push(`${place}.${key}: there is no such setting, only ${Object.keys(KEYS).join(', ')}`)
  }
  // YAML's "by:" without a value is null: as if it were not there.
  const fields = Object.fromEntries(Object.keys(KEYS).map((key) => [key, given[key] ?? undefined]))
  const result = v.safeParse(Array.isArray(fields['match']) ? v.object(KEYS) : v.object(KEYS_OF_ONE), fields)
  for (const issue of result.issues ?? []) problems.push(describe(place, issue))
  if (fields['by'] !== undefined && fields['without'] !== undefined)
    problems.push(`${place}.without: expected by or without, not both`)
  if (!result.success || problems.length > before) return undefined
  const { name, match, interval, by, without, outputs, keep_input, grace, metric } = result.output
  const selectors = Array.isArray(match) ? match : [match]
  return {
    name: name ?? selectors[0]!.text,
    match: selectors,
    intervalMs: interval,
    grouping: grouping(by, without),
    outputs: once(outputs),
    keepInput: keep_input,
    graceMs: grace,
    metric,
    labels: [],
  }
}

function grouping(by: readonly string[] | undefined, without: readonly string[] | undefined): Grouping {
  const sorted = [...new Set(without ?? by ?? [])].sort()
  return { kind: without === undefined ? 'by' : 'without', labels: sorted }
}

/** Each output once, quantiles joined: two of the same would write the same series. */
function once(outputs: readonly Output[]): Output[] {
  const phis = [...new Set(outputs.flatMap((o) => (o.kind === 'quantiles' ? o.phis : [])))].sort((a, b) => a - b)
  const plain = new Set(outputs.flatMap((o) => (o.kind === 'quantiles' ? [] : [o.kind])))
  return [...[...plain].map((kind) => ({ kind })), ...(phis.length > 0 ? [{ kind: 'quantiles' as const, phis }] : [])]
}

function readOutput(written: unknown): Output | undefined {
  if (typeof written !== 'string') return undefined
  const kind = written.trim()
  if ((PLAIN_OUTPUTS as readonly string[]).includes(kind)) return { kind: kind as PlainOutput }
  const match = /^quantiles\s*\((.*)\)$/s.exec(kind)
  if (match === null) return undefined
  const phis = match[1]!.split(',').map((phi) => (/^\s*\d*\.?\d+\s*$/.test(phi) ? Number(phi) : Number.NaN))
  return phis.length <= PHIS_MAX && phis.every((phi) => phi >= 0 && phi <= 1) ? { kind: 'quantiles', phis } : undefined
}

/** `rules[2].outputs[1]: "p99" is not allowed: expected …`. */
function describe(place: string, { path, input, message }: v.BaseIssue<unknown>): string {
  const keys = (path ?? []).map(({ key }) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
  return `${place}${keys.join('')}: ${input === undefined ? 'is missing' : `${shown(input)} is not allowed`}: ${message}`
}

function shown(value: unknown): string {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return typeof value // what JSON cannot hold cannot come from a file
  }
}

/** The rule's settings in one line, for logs. */
export function describeRule(rule: Rule): string {
  const outputs = rule.outputs.map((o) => (o.kind === 'quantiles' ? `quantiles(${o.phis.join(', ')})` : o.kind))
  const { kind, labels: names } = rule.grouping
  return `${rule.match.map((m) => m.text).join(' or ')} each ${formatDuration(rule.intervalMs)} ${kind} (${names.join(', ')}): ${outputs.join(', ')}`
}
