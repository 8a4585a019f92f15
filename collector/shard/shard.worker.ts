/**
 * The thread of a shard: a piscina pool of exactly one runs this file, its queue is the shard's mailbox. Every handler is
 * synchronous, so messages are worked on one at a time and in order, which is what makes the core an actor.
 */
import { move, transferableSymbol, valueSymbol } from 'piscina'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import { faultsFrom } from '../../proto/runtime/fault.ts'
import { nodeFiles } from '../journal/files.ts'
import type { IncomingBody } from './reception.ts'
import type { ShardOptions, Tick } from './shard-core.ts'
import { ShardCore } from './shard-core.ts'
import type { ShardReply, ShardSnapshot, ShardTask } from './shard-thread.ts'

let core: ShardCore | undefined

export default function handle(task: ShardTask): unknown {
  switch (task.kind) {
    case 'open':
      return open(task.options, task.fault)
    case 'take':
      return take(task.now, task.bodies)
    case 'tick':
      return tick(task.tick)
    case 'rewind':
      return opened().rewind(task.from)
    case 'describe':
      return opened().describe(task.refs)
    case 'close':
      return close(task.now)
    default:
      return task satisfies never
  }
}

function open(options: ShardOptions, fault: string): ShardReply<'open'> {
  core = new ShardCore(nodeFiles, options, faultsFrom(fault))
  return snapshot(core)
}

function take(now: number, bodies: readonly IncomingBody[]): ShardReply<'take'> {
  const shard = opened()
  const outcomes = shard.take(now, bodies)
  return { outcomes, due: shard.due, state: shard.state }
}

function tick(input: Tick): unknown {
  const shard = opened()
  const batches = shard.tick(input)
  const reply: ShardReply<'tick'> = { batches, snapshot: snapshot(shard) }
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
    recovery: { ...recovery },
  }
}
