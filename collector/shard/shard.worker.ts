/**
 * The thread of a shard: a piscina pool of exactly one runs this file, its queue is the shard's mailbox. Every handler is
 * synchronous, so messages are worked on one at a time and in order, which is what makes the core an actor.
 */
import { move, transferableSymbol, valueSymbol } from 'piscina'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import { faultsFrom } from '../../proto/runtime/fault.ts'
import { nodeFiles } from '../journal/files.ts'
import type { OutputBody } from '../rules/output-bodies.ts'
import { RulesCore } from '../rules/rules-core.ts'
import type { TimedEmission } from '../rules/shard-rules.ts'
import type { PackedBodies } from './hand-over.ts'
import { BodyUnpacker, packOutcomes } from './hand-over.ts'
import type { IncomingBody } from './reception.ts'
import type { Tick } from './shard-core.ts'
import { ShardCore } from './shard-core.ts'
import { ShardCounts } from './shard-counts.ts'
import type { ShardProgress, ShardReply, ShardSnapshot, ShardTask } from './shard-thread.ts'

let core: ShardCore | undefined
const unpacker = new BodyUnpacker()
/** In the rules' own thread. */
let rules: RulesCore | undefined
/** What it had done when it was opened anew. */
let before: { outputs: number; late: number; kept: readonly number[] } = { outputs: 0, late: 0, kept: [] }
/** Wall clock of the message in hand, ms. */
let clock = 0

export default function handle(task: ShardTask): unknown {
  switch (task.kind) {
    case 'open':
      return open(task)
    case 'take':
      return take(task.now, task.bodies)
    case 'tick':
      return tick(task.tick)
    case 'figures':
      return snapshot(opened())
    case 'rewind':
      return opened().rewind(task.from)
    case 'describe':
      return opened().describe(task.refs)
    case 'emission':
      return merge(task.now, task.shard, task.emission)
    case 'emit again':
      return opened().windows.emitAgain(task.closed)
    case 'bound windows':
      return opened().windows.bound(task.bounds)
    case 'close':
      return close(task.now)
    default:
      return task satisfies never
  }
}

/** Or opens it anew, with other options: as after a restart, but that counters go on. */
function open({ options, fault, merge, kept, now, replayed }: ShardTask & { kind: 'open' }): ShardReply<'open'> {
  core?.windows.settle(kept)
  core?.close(now)
  core?.counts.readAgain()
  const counts = core?.counts ?? new ShardCounts()
  core = undefined
  const replaying = (done: number, of: number): void => {
    replayed[0] = done
    replayed[1] = of
  }
  const setAside: string[] = []
  const shard = ShardCore.open(nodeFiles, options, faultsFrom(fault), counts, replaying, (why) => setAside.push(why))
  core = shard
  if (rules !== undefined) before = { ...mergedFigures(rules), kept: rules.kept }
  rules = merge === undefined ? undefined : new RulesCore(merge, (bodies) => append(shard, bodies))
  return { ...snapshot(shard), setAside }
}

function mergedFigures({ outputs, late }: RulesCore): Pick<typeof before, 'outputs' | 'late'> {
  return { outputs: before.outputs + outputs, late: before.late + late }
}

/** Outputs of rules go the way of every other body, into the journal of this shard, which has no limits for them. */
function append(shard: ShardCore, bodies: readonly OutputBody[]): boolean {
  const incoming = bodies.map(({ tenant, body }): IncomingBody => ({ door: 'rules', tenant, sender: 'rules', body }))
  return shard.take(clock, incoming).every((outcome) => outcome.kind !== 'retry')
}

function merge(now: number, shard: number, emission: TimedEmission): ShardReply<'emission'> {
  clock = now
  const kept = rules?.take(shard, emission) ?? 0
  return { kept, state: opened().state }
}

/** Nothing of a body is kept here: the next ones take its place. */
function take(now: number, packed: PackedBodies): ShardReply<'take'> {
  const shard = opened()
  const bodies = unpacker.unpack(packed)
  const since = performance.now()
  const outcomes = packOutcomes(shard.take(now, bodies))
  const ms = performance.now() - since
  return { outcomes, due: shard.due, state: shard.state, ms }
}

function tick(input: Tick): unknown {
  const shard = opened()
  clock = input.now
  rules?.advance()
  const { batches, emission } = shard.tick(input)
  const reply: ShardReply<'tick'> = { batches, emission, snapshot: progress(shard) }
  return move({ [transferableSymbol]: batches.map((batch) => batch.bytes.buffer), [valueSymbol]: reply } as never)
}

function close(now: number): ShardReply<'close'> {
  const shard = opened()
  shard.close(now)
  core = undefined
  return snapshot(shard)
}

function opened(): ShardCore {
  if (core === undefined) throw new FleetmeterError('FM_SHARD', 'The shard is not open: its thread was replaced')
  return core
}

function snapshot(shard: ShardCore): ShardSnapshot {
  return {
    ...progress(shard),
    counts: shard.counts.snapshot(),
    recovery: { ...shard.journal.recovery },
    overflowing: shard.overflowing,
  }
}

function progress(shard: ShardCore): ShardProgress {
  const { bytes, segments, end } = shard.journal
  return {
    journalBytes: bytes,
    journalSegments: segments,
    end,
    cursor: shard.cursor,
    series: shard.series,
    lastAt: shard.lastAt,
    state: shard.state,
    due: shard.due,
    emitting: shard.emitting,
    windows: shard.windows.bounds,
    rules: shard.windows.figures,
    merged: rules === undefined ? undefined : { ...mergedFigures(rules), keptBefore: before.kept },
  }
}
