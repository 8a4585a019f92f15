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
import { packOutcomes, unpackBodies } from './hand-over.ts'
import type { IncomingBody } from './reception.ts'
import type { Tick } from './shard-core.ts'
import { ShardCore } from './shard-core.ts'
import type { ShardReply, ShardSnapshot, ShardTask } from './shard-thread.ts'

let core: ShardCore | undefined
/** In the rules' own thread. */
let rules: RulesCore | undefined
/** What it had done when it was opened anew. */
let before = { outputs: 0, late: 0 }
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
function open({ options, fault, merge, now, replayed }: ShardTask & { kind: 'open' }): ShardReply<'open'> {
  core?.close(now)
  core?.counts.readAgain()
  const counts = core?.counts
  core = undefined
  const shard = new ShardCore(nodeFiles, options, faultsFrom(fault), counts, (done, of) => {
    replayed[0] = done
    replayed[1] = of
  })
  core = shard
  if (rules !== undefined) before = mergedFigures(rules)
  rules = merge === undefined ? undefined : new RulesCore(merge, (bodies) => append(shard, bodies))
  return snapshot(shard)
}

function mergedFigures({ outputs, late }: RulesCore): typeof before {
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

/** Nothing of a body is kept here: its memory goes back. */
function take(now: number, packed: PackedBodies): unknown {
  const shard = opened()
  const bodies = unpackBodies(packed)
  const since = performance.now()
  const outcomes = packOutcomes(shard.take(now, bodies))
  const ms = performance.now() - since
  const buffers = [packed.small.buffer, ...packed.large.map((body) => body.buffer as ArrayBuffer)]
  const reply: ShardReply<'take'> = { outcomes, due: shard.due, state: shard.state, ms, buffers }
  return move({ [transferableSymbol]: buffers, [valueSymbol]: reply } as never)
}

function tick(input: Tick): unknown {
  const shard = opened()
  clock = input.now
  rules?.advance()
  const { batches, emission } = shard.tick(input)
  const reply: ShardReply<'tick'> = { batches, emission, snapshot: snapshot(shard) }
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
  const { bytes, segments, end, recovery } = shard.journal
  return {
    counts: shard.counts.snapshot(),
    journalBytes: bytes,
    journalSegments: segments,
    end,
    cursor: shard.cursor,
    series: shard.series,
    lastAt: shard.lastAt,
    state: shard.state,
    due: shard.due,
    emitting: shard.emitting,
    recovery: { ...recovery },
    windows: shard.windows.bounds,
    rules: shard.windows.figures,
    overflowing: shard.overflowing,
    merged: rules === undefined ? undefined : mergedFigures(rules),
  }
}
