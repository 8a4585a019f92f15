/** The thread of the events lane, see actor-thread.ts. Every handler is synchronous: messages are worked on one at a time and in order. */
import { move, transferableSymbol, valueSymbol } from 'piscina'
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import { faultsFrom } from '../../proto/runtime/fault.ts'
import { nodeFiles } from '../journal/files.ts'
import { EventsCore } from './events-core.ts'
import type { EventsReply, EventsTask } from './events-thread.ts'

let core: EventsCore | undefined

export default function handle(task: EventsTask): unknown {
  switch (task.kind) {
    case 'open':
      return open(task)
    case 'take': {
      const since = performance.now()
      const lane = opened()
      const outcomes = lane.take(task.now, task.requests)
      const reply: EventsReply<'take'> = { outcomes, due: lane.due, state: lane.state, ms: performance.now() - since }
      return reply
    }
    case 'tick': {
      const lane = opened()
      const batches = lane.tick(task.tick)
      const reply: EventsReply<'tick'> = { batches, snapshot: lane.snapshot() }
      return move({ [transferableSymbol]: batches.map(({ bytes }) => bytes.buffer), [valueSymbol]: reply } as never)
    }
    case 'figures':
      return opened().snapshot()
    case 'rewind':
      return opened().rewind(task.from)
    case 'limit':
      return opened().limit(task.decodedBytesMax)
    case 'close': {
      const lane = opened()
      lane.close(task.now)
      core = undefined
      return lane.snapshot()
    }
    default:
      return task satisfies never
  }
}

function open({ options, fault, replayed }: EventsTask & { kind: 'open' }): EventsReply<'open'> {
  core = new EventsCore(nodeFiles, options, faultsFrom(fault), (done, of) => {
    replayed[0] = done
    replayed[1] = of
  })
  return core.snapshot()
}

function opened(): EventsCore {
  if (core === undefined) throw new FleetmeterError('FM_SHARD', 'The events lane is not open: its thread was replaced')
  return core
}
