/**
 * What goes wrong in each round: the seed decides the faults, their order, their moments and all their figures, and nothing
 * else does. A kind that this machine cannot do is passed over when its turn comes: the plan is the same everywhere.
 *
 * Faults are cards of a deck that is dealt to its end before it is shuffled again, so that each comes about as often.
 */
import { Random } from '../support/random.ts'

export type Program = 'collector' | 'aggregator'
export type Target = Program | 'engine'
/** Where requests pass a proxy of ours. */
export type RoadName = 'senders' | 'forward'
/** What can happen on a road: see `road.ts`. */
export const MISHAPS = ['drop', 'delay', 'truncate', 'cut answer', 'repeat', 'hold'] as const
export type Mishap = (typeof MISHAPS)[number]

interface Timed {
  /** ms after the round began. */
  readonly at: number
}

export interface Kill extends Timed {
  readonly kind: 'kill'
  readonly target: Target | 'all'
  /** Until it is started again, ms; the engine is started by its aggregator. */
  readonly pauseMs: number
}

export interface Stop extends Timed {
  readonly kind: 'stop'
  readonly target: Target
  readonly ms: number
}

export interface DiskFull extends Timed {
  readonly kind: 'disk full'
  readonly ms: number
}

export interface Network extends Timed {
  readonly kind: 'network'
  readonly road: RoadName
  readonly mishap: Mishap
  readonly ms: number
  /** Which part of the requests meets it, 0 to 1. */
  readonly share: number
  /** How long a request is held back, or how much later it comes again, ms. */
  readonly amountMs: number
  /** Decides which requests, and where they are cut. */
  readonly seed: number
}

export interface Clock extends Timed {
  readonly kind: 'clock'
  readonly target: Program
  /** Ahead of the true time; until it is restarted with another. */
  readonly seconds: number
  readonly pauseMs: number
}

/** Kafka's: killed, or standing still with its connections open. */
export interface Broker extends Timed {
  readonly kind: 'broker'
  readonly how: 'kill' | 'stop'
  readonly ms: number
}

export type Fault = Kill | Stop | DiskFull | Network | Clock | Broker
export type FaultKind = Fault['kind']

type Card = (random: Random, scale: number) => Fault

const FAULTS_MAX = 3
/** A collector refuses samples more than 10 minutes ahead of its clock, and those of the senders are as good as now. */
const SKEW_MAX_S = 300

const targets: readonly Target[] = ['collector', 'aggregator', 'engine']
const programs: readonly Program[] = ['collector', 'aggregator']

const ms = (random: Random, scale: number, min: number, max: number): number =>
  Math.round(random.between(min, Math.max(min, max * scale)))
const moment = (random: Random, scale: number): number => ms(random, scale, 0, 2000)

const deckOf = (roads: readonly RoadName[]): readonly Card[] => [
  ...[...targets, 'all' as const].map(
    (target): Card =>
      (r, scale) => ({ kind: 'kill', at: moment(r, scale), target, pauseMs: ms(r, scale, 0, 1500) }),
  ),
  ...targets.map(
    (target): Card =>
      (r, scale) => ({ kind: 'stop', at: moment(r, scale), target, ms: ms(r, scale, 100, 5000) }),
  ),
  ...[0, 1].map((): Card => (r, scale) => ({ kind: 'disk full', at: moment(r, scale), ms: ms(r, scale, 300, 4000) })),
  ...MISHAPS.flatMap((mishap) =>
    roads.map(
      (road): Card =>
        (r, scale) => ({
          kind: 'network',
          at: moment(r, scale),
          road,
          mishap,
          ms: ms(r, scale, 500, 4000),
          share: r.between(mishap === 'hold' ? 10 : 20, mishap === 'hold' ? 40 : 100) / 100,
          amountMs: ms(r, scale, 20, mishap === 'delay' ? 600 : 2500),
          seed: r.between(0, 2 ** 31),
        }),
    ),
  ),
  ...programs.map(
    (target): Card =>
      (r, scale) => ({
        kind: 'clock',
        at: moment(r, scale),
        target,
        seconds: r.chance(0.2) ? 0 : r.between(5, SKEW_MAX_S) * r.pick([-1, 1]),
        pauseMs: ms(r, scale, 0, 500),
      }),
  ),
]

const DECK = deckOf(['senders', 'forward'])

/** Where samples go by Kafka, nothing but questions passes the road forward. */
const KAFKA_DECK: readonly Card[] = [
  ...deckOf(['senders']),
  ...(['kill', 'stop'] as const).map(
    (how): Card =>
      (r, scale) => ({ kind: 'broker', at: moment(r, scale), how, ms: ms(r, scale, 100, 4000) }),
  ),
]

export class Plan {
  readonly #random: Random
  readonly #scale: number
  readonly #deck: readonly Card[]
  #left: Card[] = []

  /**
   * @param scale of all durations: 1, or less for short rounds
   * @param kafka whether samples go by Kafka
   */
  constructor(seed: number, scale = 1, kafka = false) {
    this.#random = new Random(seed)
    this.#scale = scale
    this.#deck = kafka ? KAFKA_DECK : DECK
  }

  /** The faults of the next round, in the order in which they begin. */
  next(): Fault[] {
    const faults = Array.from({ length: this.#random.between(1, FAULTS_MAX) }, () => this.#card())
    return faults.sort((a, b) => a.at - b.at)
  }

  #card(): Fault {
    if (this.#left.length === 0) this.#left = [...this.#deck]
    const [card] = this.#left.splice(this.#random.between(0, this.#left.length - 1), 1) as [Card]
    return card(this.#random, this.#scale)
  }
}

/** For people: what happens, to whom and how long. */
export function nameOf(fault: Fault): string {
  const seconds = (n: number): string => `${(n / 1000).toFixed(1)} s`
  switch (fault.kind) {
    case 'kill':
      return `kill ${fault.target}`
    case 'stop':
      return `stop ${fault.target} ${seconds(fault.ms)}`
    case 'disk full':
      return `disk full ${seconds(fault.ms)}`
    case 'network':
      return `${fault.mishap} on ${fault.road} ${seconds(fault.ms)}`
    case 'clock':
      return `clock of ${fault.target} ${fault.seconds >= 0 ? '+' : ''}${fault.seconds} s`
    case 'broker':
      return `${fault.how} broker ${seconds(fault.ms)}`
    default:
      return fault satisfies never
  }
}
