/**
 * Bodies on their way to a shard's thread, and what became of them on the way back: of many heartbeats as few things to copy as of
 * one, and nothing to give away and back. A buffer that changes its thread costs more than copying what is in it.
 *
 *     bodies ──pack──▶ one behind the other in memory that both threads see ──unpack──▶ copies of them
 *     outcomes ──pack──▶ counts where nothing is to be told, others as they are ──unpack──▶ outcomes
 *
 * The memory is written again once the thread has answered.
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
  /** Where the bodies lie from now on; undefined: where those before them lay. */
  readonly memory: SharedArrayBuffer | undefined
}

export interface PackedOutcomes {
  readonly counts: Uint32Array
  /** Those of which there is more to tell than counts, with their places. */
  readonly others: readonly (readonly [index: number, outcome: Outcome<Taken>])[]
}

const MEMORY_BYTES_MIN = 256 * 1024
/** What only an unusually large body needed is not kept. */
const MEMORY_BYTES_KEPT = 4 * 1024 * 1024
/** Of a body's counts: items by kind, then accepted, duplicate and replaced ones. */
const COUNTS = ITEM_KINDS.length + 3

/** At the sender's end: for one thread, which is to answer before the next bodies are packed. */
export class BodyPacker {
  #memory = new Uint8Array(new SharedArrayBuffer(0))

  pack(bodies: readonly IncomingBody[]): PackedBodies {
    const bytes = bodies.reduce((sum, { body }) => sum + body.length, 0)
    const memory = this.#reserve(bytes)
    const heads = new Uint32Array(2 * bodies.length)
    let at = 0
    for (const [i, { door, body }] of bodies.entries()) {
      heads[2 * i] = DOORS.indexOf(door)
      heads[2 * i + 1] = body.length
      this.#memory.set(body, at)
      at += body.length
    }
    const [tenants, senders] = [bodies.map(({ tenant }) => tenant), bodies.map(({ sender }) => sender)]
    return { heads, tenants, senders, memory }
  }

  /** @returns what the other end has not seen yet */
  #reserve(bytes: number): SharedArrayBuffer | undefined {
    const { length } = this.#memory
    if (bytes <= length && length <= Math.max(bytes, MEMORY_BYTES_KEPT)) return undefined
    const memory = new SharedArrayBuffer(2 ** Math.ceil(Math.log2(Math.max(bytes, MEMORY_BYTES_MIN))))
    this.#memory = new Uint8Array(memory)
    return memory
  }
}

/** At the thread's end. */
export class BodyUnpacker {
  #memory = new Uint8Array(new SharedArrayBuffer(0))
  #copies = new Uint8Array(0)

  /** The bodies in their order; valid until the next call. Not all that reads bytes takes them from shared memory: these are copies. */
  unpack({ heads, tenants, senders, memory }: PackedBodies): IncomingBody[] {
    if (memory !== undefined) {
      this.#memory = new Uint8Array(memory)
      this.#copies = new Uint8Array(memory.byteLength)
    }
    let at = 0
    for (let i = 1; i < heads.length; i += 2) at += heads[i]!
    if (at > this.#memory.length)
      throw new Error(
        `Bodies of ${at} bytes lie in memory of ${this.#memory.length} bytes: they were packed for another thread`,
      )
    this.#copies.set(this.#memory.subarray(0, at))
    at = 0
    return tenants.map((tenant, i) => {
      const length = heads[2 * i + 1]!
      const body = this.#copies.subarray(at, at + length)
      at += length
      return { door: DOORS[heads[2 * i]!] as Door, tenant, sender: senders[i]!, body }
    })
  }
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
