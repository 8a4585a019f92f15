/**
 * Which windows a series goes into. A membership is what all series with the same groups share:
 *
 *     series ─▶ membership ─▶ for each lane: rule and group, rule and group …
 *
 * A lane is the rules of one interval and one grace: they share windows, so that a point is kept once for all of them.
 */
import { grown } from '../../proto/wire/grown.ts'
import type { Label } from '../../proto/wire/labels.ts'
import type { GroupKey } from './output-labels.ts'
import { groupKey } from './output-labels.ts'
import type { Rule } from './rule.ts'
import { countsIncrease } from './rule.ts'

/** What a series that no rule matches is answered. */
export const NO_MEMBERSHIP = -1
export const NO_LANE = -1
const NO_RULE = -1
const NONE = -1

const CAPACITY_MIN = 1024

/** The rules of one interval and grace. */
export interface LaneShape {
  readonly intervalMs: number
  readonly graceMs: number
  /** Indices of its rules. */
  readonly rules: readonly number[]
  /** Whether one of them needs a series' newest point of the window before. */
  readonly counters: boolean
}

/** The part of a membership in a lane; group i is of rule i. */
export interface Share {
  readonly lane: number
  readonly rules: readonly number[]
  readonly groups: readonly number[]
  /** One of the rules drops its input. */
  readonly drops: boolean
}

export interface Membership {
  readonly shares: readonly Share[]
  /** The series' samples are not stored themselves once they were taken. */
  readonly drops: boolean
  /** The share whose windows count them: of those that drop the one with the longest interval. */
  readonly counting: number
  /** A rule had no room for the group. */
  readonly refused: boolean
  /** The same, of one that drops its input, or of any where none does: samples are to be stored. */
  readonly full: boolean
}

export function lanesOf(rules: readonly Rule[]): LaneShape[] {
  const lanes = new Map<string, { intervalMs: number; graceMs: number; rules: number[]; counters: boolean }>()
  rules.forEach((rule, i) => {
    const key = `${rule.intervalMs} ${rule.graceMs}`
    const lane = lanes.get(key) ?? { intervalMs: rule.intervalMs, graceMs: rule.graceMs, rules: [], counters: false }
    lane.rules.push(i)
    lane.counters ||= countsIncrease(rule)
    lanes.set(key, lane)
  })
  return [...lanes.values()]
}

/** Numbers groups and memberships; a number is used again only after {@link Memberships.retain} has given it back. */
export class Memberships {
  /** By number, for the hot path: the lane of a membership that has only one, and room in it; else NO_LANE. */
  soleLane: Int16Array = new Int16Array(CAPACITY_MIN)
  /** By number: 1 where samples are not stored once they were taken. */
  dropping: Uint8Array = new Uint8Array(CAPACITY_MIN)
  /** By number: rule and group, where there is but one and room in it, the usual case; else NO_RULE, and it is in `#all`. */
  #soleRule = new Int32Array(CAPACITY_MIN)
  #soleGroup = new Int32Array(CAPACITY_MIN)
  readonly #rules: readonly Rule[]
  readonly #lanes: readonly LaneShape[]
  readonly #groupsMax: number
  readonly #all = new Map<number, Membership>()
  readonly #byKey = new Map<string, number>()
  /** By rule and group: the membership that is of these alone; NONE: there is none. */
  readonly #byGroup: Int32Array[]
  #sole = 0
  /** Numbers that were given out are below. */
  #numbers = 0
  readonly #free: number[] = []
  /** By rule: numbers by key, and keys by number. */
  readonly #groups: readonly Names[]
  readonly #laneOf: readonly number[]

  constructor(rules: readonly Rule[], lanes: readonly LaneShape[], groupsMax: number) {
    this.#rules = rules
    this.#lanes = lanes
    this.#groupsMax = groupsMax
    this.#groups = rules.map(() => new Names())
    this.#byGroup = rules.map(() => new Int32Array(0))
    this.#laneOf = rules.map((_, rule) => lanes.findIndex((lane) => lane.rules.includes(rule)))
  }

  /** The membership of a series; NO_MEMBERSHIP when no rule matches. @param labels in canonical order, without the name */
  join(tenant: string, name: string, labels: readonly Label[]): number {
    const groups: [rule: number, group: number][] = []
    const refused: Rule[] = []
    for (const [i, rule] of this.#rules.entries()) {
      if (!rule.match.some((selector) => selector.matches(name, labels))) continue
      const group = this.#groups[i]!.number(groupKey(rule, tenant, name, labels), this.#groupsMax)
      if (group === undefined) refused.push(rule)
      else groups.push([i, group])
    }
    return this.#number(groups, refused)
  }

  /** The membership of what is sent to one rule, whether that matches it or not; NO_MEMBERSHIP: no room. */
  joinOnly(rule: number, tenant: string, name: string): number {
    const group = this.#groups[rule]!.number(groupKey(this.#rules[rule]!, tenant, name, []), this.#groupsMax)
    return group === undefined ? NO_MEMBERSHIP : this.#number([[rule, group]], [])
  }

  #number(groups: readonly (readonly [rule: number, group: number])[], refused: readonly Rule[]): number {
    if (groups.length === 0 && refused.length === 0) return NO_MEMBERSHIP
    if (groups.length === 1 && refused.length === 0) return this.#numberOfSole(...groups[0]!)
    const drops = [...groups.map(([i]) => this.#rules[i]!), ...refused].some((rule) => !rule.keepInput)
    const full = refused.some((rule) => !drops || !rule.keepInput)
    const key = JSON.stringify([groups, drops, full, refused.length > 0])
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const number = this.#take()
    this.#byKey.set(key, number)
    const membership = { ...this.#share(groups), drops, full, refused: refused.length > 0 }
    this.#all.set(number, membership)
    const { shares } = membership
    this.soleLane[number] = shares.length === 1 && !membership.refused ? shares[0]!.lane : NO_LANE
    this.dropping[number] = drops ? 1 : 0
    this.#soleRule[number] = NO_RULE
    return number
  }

  #numberOfSole(rule: number, group: number): number {
    let known = this.#byGroup[rule]!
    if (group >= known.length) {
      known = grown(known, new Int32Array(Math.max(CAPACITY_MIN, group + 1, 2 * known.length)).fill(NONE))
      this.#byGroup[rule] = known
    }
    if (known[group] !== NONE) return known[group]!
    const number = this.#take()
    known[group] = number
    this.#sole++
    this.soleLane[number] = this.#laneOf[rule]!
    this.dropping[number] = this.#rules[rule]!.keepInput ? 0 : 1
    this.#soleRule[number] = rule
    this.#soleGroup[number] = group
    return number
  }

  /** A number for a new one. */
  #take(): number {
    const number = this.#free.pop() ?? this.#numbers++
    if (number >= this.soleLane.length) this.#grow()
    return number
  }

  /** @param number one that was given out and is still in use */
  get(number: number): Membership {
    const rule = this.#soleRule[number]!
    if (rule === NO_RULE) return this.#all.get(number)!
    const drops = this.dropping[number] === 1
    const share = { lane: this.soleLane[number]!, rules: [rule], groups: [this.#soleGroup[number]!], drops }
    return { shares: [share], drops, counting: drops ? 0 : NONE, refused: false, full: false }
  }

  /** The rule of a membership that is of one rule only; -1: of another one, see {@link shareOf}. Hot. */
  soleRuleOf(number: number): number {
    return this.#soleRule[number]!
  }

  /** The group of a membership that is of one rule only. Hot. */
  soleGroupOf(number: number): number {
    return this.#soleGroup[number]!
  }

  /** The part of a membership in a lane. */
  shareOf(number: number, lane: number): Share | undefined {
    return this.get(number).shares.find((share) => share.lane === lane)
  }

  /** The name of a group, where it was not asked for before under this number; undefined: it was. */
  untold(rule: number, group: number): GroupKey | undefined {
    return this.#groups[rule]!.untold(group)
  }

  /** All names are asked for again. */
  tellAgain(): void {
    for (const names of this.#groups) names.tellAgain()
  }

  groupKey(rule: number, group: number): GroupKey {
    return this.#groups[rule]!.name(group)
  }

  /** Groups of the rule that has most. */
  get groupsMost(): number {
    return this.#groups.reduce((most, { size }) => Math.max(most, size), 0)
  }

  get count(): number {
    return this.#byKey.size + this.#sole
  }

  /** Forgets all memberships but these, and the groups that then have none. */
  retain(used: ReadonlySet<number>): void {
    const groups = this.#rules.map(() => new Set<number>())
    for (const [key, number] of this.#byKey) {
      if (used.has(number)) {
        for (const share of this.get(number).shares) {
          for (const [i, rule] of share.rules.entries()) groups[rule]!.add(share.groups[i]!)
        }
      } else {
        this.#byKey.delete(key)
        this.#all.delete(number)
        this.#free.push(number)
      }
    }
    for (const [rule, numbers] of this.#byGroup.entries()) {
      for (const [group, number] of numbers.entries()) {
        if (number === NONE) continue
        if (used.has(number)) groups[rule]!.add(group)
        else {
          numbers[group] = NONE
          this.#sole--
          this.#free.push(number)
        }
      }
    }
    for (const [rule, names] of this.#groups.entries()) names.retain(groups[rule]!)
  }

  #grow(): void {
    const capacity = 2 * this.soleLane.length
    this.soleLane = grown(this.soleLane, new Int16Array(capacity))
    this.dropping = grown(this.dropping, new Uint8Array(capacity))
    this.#soleRule = grown(this.#soleRule, new Int32Array(capacity))
    this.#soleGroup = grown(this.#soleGroup, new Int32Array(capacity))
  }

  /** Divides groups among lanes. */
  #share(groups: readonly (readonly [rule: number, group: number])[]): Pick<Membership, 'shares' | 'counting'> {
    const shares = this.#lanes.flatMap((lane, i): Share[] => {
      const own = groups.filter(([rule]) => lane.rules.includes(rule))
      if (own.length === 0) return []
      return [
        {
          lane: i,
          rules: own.map(([rule]) => rule),
          groups: own.map(([, group]) => group),
          drops: own.some(([rule]) => !this.#rules[rule]!.keepInput),
        },
      ]
    })
    let counting = NONE
    const length = (i: number): number => this.#lanes[shares[i]!.lane]!.intervalMs
    for (const [i, { drops }] of shares.entries())
      if (drops && (counting < 0 || length(i) > length(counting))) counting = i
    return { shares, counting }
  }
}

/** Texts and small numbers for them. */
class Names {
  readonly #numbers = new Map<string, number>()
  readonly #names: string[] = []
  readonly #free: number[] = []
  /** By number. */
  #told: boolean[] = []

  get size(): number {
    return this.#numbers.size
  }

  /** undefined when the text is new and there are `max` already. */
  number(name: string, max: number): number | undefined {
    const known = this.#numbers.get(name)
    if (known !== undefined || this.#numbers.size >= max) return known
    const number = this.#free.pop() ?? this.#names.length
    this.#numbers.set(name, number)
    this.#names[number] = name
    this.#told[number] = false
    return number
  }

  untold(number: number): string | undefined {
    if (this.#told[number] === true) return undefined
    this.#told[number] = true
    return this.#names[number]
  }

  tellAgain(): void {
    this.#told = []
  }

  name(number: number): string {
    return this.#names[number]!
  }

  retain(used: ReadonlySet<number>): void {
    for (const [name, number] of this.#numbers) {
      if (used.has(number)) continue
      this.#numbers.delete(name)
      this.#free.push(number)
    }
  }
}
