/** What the shards of a collector, and the rules' own, are opened with: out of the settings, and anew when those change. */
import { createHash, randomBytes, randomInt } from 'node:crypto'
import { join } from 'node:path'
import type { CollectorConfig } from './config.ts'
import { rulesInForce } from './rules/read-rules.ts'
import type { SeriesLimits } from './shard/body-decoder.ts'
import type { RuleOptions } from './shard/rule-feed.ts'
import type { ShardOptions } from './shard/shard-core.ts'
import type { ShardSetup } from './shard/shard-thread.ts'

/** The number under which the outputs of rules are forwarded: no shard has it. */
const RULES_SHARD = 999
/** Series of one output that a rule may ask for. */
const QUANTILES_MAX = 20
const WRITERS = 1000 // the last three digits of an arrival

/** Settings that a running collector can change only by opening its shards anew. */
export const SHARD_SETTINGS: readonly (keyof CollectorConfig)[] = [
  'rules',
  'seriesMax',
  'seriesPerTenantMax',
  'seriesPerSenderMax',
  'overflowSeriesMax',
  'metadataBytesMax',
  'labelCountMax',
  'labelNameBytesMax',
  'labelValueBytesMax',
  'decodedBytesMax',
  'samplesPerBodyMax',
]

/** What stays the same as long as a collector runs. */
export interface Lasting {
  readonly journals: string
  readonly id: string
  /** How many there are, the rules' own included. */
  readonly shards: number
  /** How old a sample may be, ms. */
  readonly lateMaxMs: number
}

/** Of all shards, under one session: numbers of series and of rules mean the same in all of them, and nothing in another. */
export function setupsOf(
  own: CollectorConfig,
  numbers: readonly number[],
  lasting: Lasting,
): { readonly rules: ShardSetup; readonly shards: readonly ShardSetup[] } {
  const place = { ...lasting, session: randomBytes(8).toString('hex'), rules: ruleOptions(own) }
  const merge = {
    rules: own.rules,
    shards: numbers,
    session: place.session,
    keepMs: own.rulesKeepMs,
    collector: lasting.id,
  }
  return {
    rules: { shard: rulesShardOptions(own, { ...place, shard: RULES_SHARD, directory: 'rules' }), merge },
    shards: numbers.map((shard) => ({
      shard: shardOptions(own, { ...place, shard, directory: `samples-${shard}` }),
      merge: undefined,
    })),
  }
}

function ruleOptions(own: CollectorConfig): RuleOptions {
  const { rules, rulesKeepMs: keepMs, rulesPointsMax: pointsMax, rulesGroupsMax: groupsMax } = own
  return { rules, keepMs, pointsMax, groupsMax }
}

/** Outputs of rules go into no rule, and what was acknowledged as their input must not be refused as their output. */
function rulesShardOptions(own: CollectorConfig, place: ShardPlace): ShardOptions {
  const options = shardOptions(own, { ...place, rules: { ...place.rules, rules: [] } })
  const outputs = rulesInForce(own.rules).reduce((n, rule) => n + rule.outputs.length + QUANTILES_MAX, 0)
  const seriesMax = Math.max(own.seriesMax, 2 * own.rulesGroupsMax * outputs)
  const limits: SeriesLimits = {
    ...options.limits,
    seriesMax,
    seriesPerTenantMax: seriesMax,
    seriesPerSenderMax: seriesMax,
    overflowSeriesMax: 0,
    labelCountMax: Number.POSITIVE_INFINITY,
    labelNameBytesMax: Number.POSITIVE_INFINITY,
    labelValueBytesMax: Number.POSITIVE_INFINITY,
    samplesPerBodyMax: Number.POSITIVE_INFINITY,
  }
  return { ...options, limits, lateMaxMs: Number.POSITIVE_INFINITY }
}

interface ShardPlace extends Lasting {
  readonly directory: string
  readonly rules: RuleOptions
  readonly session: string
  readonly shard: number
}

function shardOptions(own: CollectorConfig, place: ShardPlace): ShardOptions {
  const { journals, id, session, shard, shards } = place
  return {
    directory: join(journals, place.directory),
    rules: place.rules,
    origin: { collector: id, session, shard, shards },
    // Writers of one collector never tie; those of two seldom do, and only for one sample that reached both in one ms.
    writer: (createHash('sha256').update(id).digest().readUInt32LE() + shard) % WRITERS,
    limits: {
      seriesMax: own.seriesMax,
      seriesPerTenantMax: own.seriesPerTenantMax,
      seriesPerSenderMax: own.seriesPerSenderMax,
      overflowSeriesMax: own.overflowSeriesMax,
      metadataBytesMax: own.metadataBytesMax,
      labelCountMax: own.labelCountMax,
      labelNameBytesMax: own.labelNameBytesMax,
      labelValueBytesMax: own.labelValueBytesMax,
      decodedBytesMax: own.decodedBytesMax,
      samplesPerBodyMax: own.samplesPerBodyMax,
    },
    futureMaxMs: own.futureMaxMs,
    lateMaxMs: place.lateMaxMs,
    journalBytesMax: own.journalBytesMax,
    segmentBytes: own.journalSegmentBytes,
    syncEveryWrite: own.journalSync === 'write',
    batchBytes: own.batchBytes,
    batchSamples: own.batchSamples,
    seed: randomInt(2 ** 32),
  }
}
