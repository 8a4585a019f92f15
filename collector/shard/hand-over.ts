/**
 * Bodies on their way to a shard's thread, and what became of them on the way back: of many heartbeats as few things to copy and
 * to transfer as of one.
 *
 *     bodies ──pack──▶ small ones side by side in one buffer, large ones as they are ──unpack──▶ bodies
 *     outcomes ──pack──▶ counts where nothing is to be told, others as they are ──unpack──▶ outcomes
 */
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { ok } from '../../proto/runtime/outcome.ts'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'
import type { Door } from '../journal/record.ts'
import { DOORS } from '../journal/record.ts'
import type { IncomingBody, Taken } from './reception.ts'

export interface PackedBodies {
  /** Two words a body: its door, and its length. */
  readonly heads: Uint32Array
  readonly tenants: readonly string[]
  readonly senders: readonly string[]
  /** The small ones, one behind the other. */
  readonly small: Uint8Array<ArrayBuffer>
  /** The others, in order. */
  readonly large: readonly Uint8Array[]
}

export interface PackedOutcomes {
  readonly counts: Uint32Array
  /** Those of which there is more to tell than counts, with their places. */
  readonly others: readonly (readonly [index: number, outcome: Outcome<Taken>])[]
}

/** Bodies up to this are copied: to transfer one costs more. */
export const SMALL_BYTES_MAX: number = 16 * 1024
/** Of a body's counts: items by kind, then accepted, duplicate and replaced ones. */
const COUNTS = ITEM_KINDS.length + 3

/** @param allocate memory of any content. @returns what to send, and the buffers to give away with it: those of large bodies too */
export function packBodies(
  bodies: readonly IncomingBody[],
  allocate: (bytes: number) => Uint8Array<ArrayBuffer>,
): { readonly packed: PackedBodies; readonly buffers: ArrayBuffer[] } {
  let bytes = 0
  for (const { body } of bodies) if (body.length <= SMALL_BYTES_MAX) bytes += body.length
  const small = allocate(bytes)
  const heads = new Uint32Array(2 * bodies.length)
  const tenants: string[] = []
  const senders: string[] = []
  const large: Uint8Array[] = []
  let at = 0
  for (const [i, { door, tenant, sender, body }] of bodies.entries()) {
    heads[2 * i] = DOORS.indexOf(door)
    heads[2 * i + 1] = body.length
    tenants.push(tenant)
    senders.push(sender)
    if (body.length > SMALL_BYTES_MAX) large.push(body)
    else {
      small.set(body, at)
      at += body.length
    }
  }
  const buffers = [small.buffer, ...large.map((body) => body.buffer as ArrayBuffer)]
  return { packed: { heads, tenants, senders, small, large }, buffers }
}

/** The bodies again, in their order. */
export function unpackBodies({ heads, tenants, senders, small, large }: PackedBodies): IncomingBody[] {
  let at = 0
  let nextLarge = 0
  return tenants.map((tenant, i) => {
    const length = heads[2 * i + 1]!
    const body = length > SMALL_BYTES_MAX ? large[nextLarge++]! : small.subarray(at, at + length)
    if (length <= SMALL_BYTES_MAX) at += length
    return { door: DOORS[heads[2 * i]!] as Door, tenant, sender: senders[i]!, body }
  })
}

export function packOutcomes(outcomes: readonly Outcome<Taken>[]): PackedOutcomes {
  const counts = new Uint32Array(COUNTS * outcomes.length)
  const others: [number, Outcome<Taken>][] = []
  for (const [i, outcome] of outcomes.entries()) {
    if (outcome.kind !== 'ok' || hasMore(outcome.value)) {
      others.push([i, outcome])
      continue
    }
    const { items, accepted, duplicate, replaced } = outcome.value
    let at = COUNTS * i
    for (const kind of ITEM_KINDS) counts[at++] = items[kind]
    counts[at] = accepted
    counts[at + 1] = duplicate
    counts[at + 2] = replaced
  }
  return { counts, others }
}

/** The outcomes again, in their order. */
export function unpackOutcomes({ counts, others }: PackedOutcomes): Outcome<Taken>[] {
  const outcomes: Outcome<Taken>[] = []
  for (let at = 0; at < counts.length; at += COUNTS) {
    const [sample, histogram, exemplar, metadata] = [counts[at]!, counts[at + 1]!, counts[at + 2]!, counts[at + 3]!]
    outcomes.push(
      ok({
        items: { sample, histogram, exemplar, metadata },
        accepted: counts[at + 4]!,
        duplicate: counts[at + 5]!,
        replaced: counts[at + 6]!,
        refused: [],
        overflow: [],
        badPoints: [],
      }),
    )
  }
  for (const [i, outcome] of others) outcomes[i] = outcome
  return outcomes
}

function hasMore({ refused, overflow, badPoints }: Taken): boolean {
  return refused.length + overflow.length + badPoints.length > 0
}
