/**
 * Up to when everything of a collector has come in. Each batch names the range of its journal that it holds, where storing
 * has got to, and a time before which everything is in it or an earlier batch; ranges joined from the cursor give the mark.
 */
import type { BatchHeader } from '../../proto/wire/batch.ts'

interface ShardMark {
  session: string
  /** Everything up to this position has come in; below 0: that is not known of any. */
  joined: number
  /** … and with it everything that arrived before this time, ms. */
  mark: number
  /** Ranges beyond `joined`, by their start. */
  readonly islands: Map<number, { readonly to: number; readonly now: number }>
}

export interface CollectorMark {
  readonly collector: string
  /** Smallest mark over its shards, ms; 0 while one of them has none. */
  readonly mark: number
  /** When its last batch came, ms. */
  readonly seenAt: number
  /** How far its clock is ahead of ours, ms, less what the quickest batch took on its way. */
  readonly lead: number
}

interface Collector {
  shards: number
  seenAt: number
  lead: number
  readonly marks: Map<number, ShardMark>
}

const ISLANDS_MAX = 10_000
const NONE = -1

export class Watermarks {
  readonly #collectors = new Map<string, Collector>()

  /** @param proven whether everything up to its cursor has come in, as it says; where not, that may be told later */
  received(header: BatchHeader, now: number, proven = true): void {
    const { collector, session, shard, shards, from, to, cursor } = header
    let known = this.#collectors.get(collector)
    if (known === undefined) {
      known = { shards, seenAt: now, lead: header.now - now, marks: new Map() }
      this.#collectors.set(collector, known)
    }
    known.shards = shards
    known.seenAt = now
    known.lead = Math.max(known.lead, header.now - now)
    let shardMark = known.marks.get(shard)
    if (shardMark === undefined || shardMark.session !== session) {
      shardMark = { session, joined: NONE, mark: 0, islands: new Map() }
      known.marks.set(shard, shardMark)
    }
    if (proven) shardMark.joined = Math.max(shardMark.joined, cursor)
    if (shardMark.islands.size < ISLANDS_MAX) shardMark.islands.set(from, { to, now: header.now })
    join(shardMark)
  }

  /** Everything up to the cursor of a batch that came before has come in. */
  proven({ collector, session, shard, cursor }: BatchHeader): void {
    const mark = this.#collectors.get(collector)?.marks.get(shard)
    if (mark === undefined || mark.session !== session) return
    mark.joined = Math.max(mark.joined, cursor)
    join(mark)
  }

  /** Whether everything in the range of a batch has come in, as far as this is known. */
  has({ collector, session, shard, from, to }: BatchHeader): boolean {
    const mark = this.#collectors.get(collector)?.marks.get(shard)
    if (mark === undefined || mark.session !== session) return false
    return to <= mark.joined || (mark.islands.get(from)?.to ?? -1) >= to
  }

  get all(): CollectorMark[] {
    return [...this.#collectors].map(([collector, { shards, seenAt, lead, marks }]) => {
      // Journals left over from another number of shards may have any number.
      const each = [...marks.values()].map(({ mark }) => mark)
      return { collector, mark: each.length < shards ? 0 : Math.min(...each), seenAt, lead }
    })
  }

  /** Forgets collectors that were not heard since a time, ms. */
  sweep(before: number): void {
    for (const [collector, { seenAt }] of this.#collectors) if (seenAt < before) this.#collectors.delete(collector)
  }

  markOf(collector: string): number {
    return this.all.find((c) => c.collector === collector)?.mark ?? 0
  }
}

function join(mark: ShardMark): void {
  for (;;) {
    let grown = false
    for (const [from, { to, now }] of mark.islands) {
      if (from > mark.joined) continue
      mark.islands.delete(from)
      if (to >= mark.joined) {
        mark.joined = to
        mark.mark = Math.max(mark.mark, now)
      }
      grown = true
    }
    if (!grown) return
  }
}
