/** The histograms, exemplars, metadata and starts of a batch, read and ready to be stored. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Extra, StartMark } from '../../proto/wire/batch-extras.ts'
import { EXTRA_KINDS, ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import { readExemplar } from '../../proto/wire/exemplar.ts'
import { readMetadata } from '../../proto/wire/metadata.ts'
import { readHistogram } from '../../proto/wire/native-histogram.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { SeriesInfo } from '../hot/series-registry.ts'
import type { ExtraRows } from '../store/extra-rows.ts'

/** Messages are read for a few ms in one turn of the event loop. */
const BYTES_A_TURN = 128 * 1024

type Write = (into: ExtraRows, use: (slot: number) => SeriesInfo) => void

export interface ExtrasOfBatch {
  /** Items by kind, in the order of `ITEM_KINDS`, samples none; `expired`: those of them that are too old to be kept. */
  readonly received: readonly number[]
  readonly expired: readonly number[]
  /** How many rows `fill` writes. */
  readonly rows: number
  readonly fill: Write
}

export const NO_EXTRAS: ExtrasOfBatch = {
  received: ITEM_KINDS.map(() => 0),
  expired: ITEM_KINDS.map(() => 0),
  rows: 0,
  fill: () => {},
}

/**
 * @param slots of the series of the starts, then of the extras that have one
 * @param oldest what is older is not kept, ms
 * @throws WireError when a message is none that a collector of this version sends
 */
export async function readExtrasOfBatch(
  extras: readonly Extra[],
  starts: readonly StartMark[],
  slots: Int32Array,
  oldest: number,
): Promise<ExtrasOfBatch> {
  if (extras.length + starts.length === 0) return NO_EXTRAS
  const received = ITEM_KINDS.map(() => 0)
  const expired = ITEM_KINDS.map(() => 0)
  const writes: Write[] = []
  let next = 0
  for (const { from, since, arrival } of starts) {
    const slot = slots[next++]!
    writes.push((into, use) => {
      const { tenant, id } = use(slot)
      into.starts.push({ tenant, id, at: arrival, from, since })
    })
  }
  let inTurn = 0
  for (const extra of extras) {
    inTurn += extra.message.length
    if (inTurn > BYTES_A_TURN) {
      inTurn = 0
      await nextTurn()
    }
    const kind = EXTRA_KINDS.indexOf(extra.kind) + 1
    received[kind]!++
    const slot = extra.kind === 'metadata' ? -1 : slots[next++]!
    const write = writeOf(extra, slot)
    if (extra.kind !== 'metadata' && extra.time < oldest) expired[kind]!++
    else writes.push(write)
  }
  return {
    received,
    expired,
    rows: writes.length,
    fill: (into, use) => {
      for (const write of writes) write(into, use)
    },
  }
}

function writeOf(extra: Extra, slot: number): Write {
  const { message, arrival: at } = extra
  if (extra.kind === 'metadata') {
    const metadata = readMetadata(message)
    return (into) => into.metadata.push({ tenant: extra.tenant, at, metadata })
  }
  if (extra.kind === 'exemplar') {
    const exemplar = readExemplar(message)
    return (into, use) => {
      const { tenant, id } = use(slot)
      into.exemplars.push({ tenant, id, at, exemplar })
    }
  }
  const histogram = readHistogram(message)
  if ('problem' in histogram) throw new WireError('malformed', `batch: a histogram is not valid: ${histogram.problem}`)
  return (into, use) => {
    const { tenant, id } = use(slot)
    into.histograms.push({ tenant, id, at, histogram })
  }
}
