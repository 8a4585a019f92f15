/**
 * Prometheus remote read: whatever was written comes back as it was sent, to Prometheus (`remote_read`), Thanos, or anything
 * that speaks the protocol: samples to the bit, native histograms field by field, exemplars; starts of counters as the field
 * that 2.0 has for them, which readers of 1.0 pass over.
 *
 * Everything that came in before the question is stored before it is answered: an answer is never older than what
 * `/api/public/metrics/query` shows.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { encodeExemplar } from '../../proto/wire/exemplar.ts'
import type { Label } from '../../proto/wire/labels.ts'
import { sortLabels } from '../../proto/wire/labels.ts'
import { encodeHistogram } from '../../proto/wire/native-histogram.ts'
import { Writer } from '../../proto/wire/protobuf.ts'
import type { ReadQuery } from '../../proto/wire/remote-read.ts'
import { RESULT_FIELD } from '../../proto/wire/remote-read.ts'
import { writeSampleBits, writeSeries } from '../../proto/wire/remote-write.ts'
import { portableSnappy, SnappyPieces } from '../../proto/wire/snappy.ts'
import { QueryTooLarge } from '../query/metric-query.ts'
import type { StoredParts, StoredSamples } from './stored-parts.ts'

export interface ReadContext {
  readonly parts: StoredParts
  /** Resolves when everything that came in so far is stored. */
  readonly settled: () => Promise<void>
  readonly now: () => number
  /** Nothing older than this is kept, ms. */
  readonly pointsMs: number
  readonly seriesMax: number
  /** Samples, histograms and exemplars of an answer. */
  readonly itemsMax: number
}

const DAY_MS = 86_400_000
const SAMPLES_A_TURN = 20_000
/** Native histograms and exemplars of an answer: each is worth many samples. */
const EXTRAS_MAX = 20_000
/** Compressed and encoded in one turn of the event loop: some milliseconds. */
const PIECE_BYTES = 256 * 1024

/**
 * The body of a `ReadResponse`, snappy-compressed.
 * @throws QueryTooLarge when it would hold more series or items than an answer may
 */
export async function remoteRead(
  context: ReadContext,
  tenant: string,
  queries: readonly ReadQuery[],
): Promise<Uint8Array<ArrayBuffer>> {
  await context.settled()
  const pieces = new SnappyPieces(portableSnappy)
  let itemsLeft = context.itemsMax
  for (const query of queries) {
    const answer = await seriesOf(context, tenant, query, itemsLeft)
    itemsLeft -= answer.items
    pieces.add(
      head(
        RESULT_FIELD,
        answer.messages.reduce((sum, m) => sum + framed(m.length), 0),
      ),
    )
    let piece: Uint8Array[] = []
    let bytes = 0
    for (const message of answer.messages) {
      piece.push(head(RESULT_FIELD, message.length), message)
      bytes += message.length
      if (bytes < PIECE_BYTES) continue
      pieces.add(Buffer.concat(piece))
      piece = []
      bytes = 0
      await nextTurn()
    }
    pieces.add(Buffer.concat(piece))
  }
  return pieces.finish()
}

/** The answer to one query, a message for each series. */
async function seriesOf(
  context: ReadContext,
  tenant: string,
  query: ReadQuery,
  itemsMax: number,
): Promise<{ readonly messages: Uint8Array[]; readonly items: number }> {
  const now = context.now()
  const selection = {
    tenant,
    matchers: query.matchers,
    from: Math.max(query.from, now - context.pointsMs - DAY_MS),
    to: Math.min(query.to, now + DAY_MS),
  }
  if (selection.from > selection.to) return { messages: [], items: 0 }
  const labels = await context.parts.series(selection, context.seriesMax)
  if (labels.size > context.seriesMax)
    throw new QueryTooLarge(`More than ${context.seriesMax} series match: narrow the matchers`)
  const extrasMax = Math.min(itemsMax, EXTRAS_MAX)
  const samples = await context.parts.samples(selection, itemsMax)
  const histograms = await context.parts.histograms(selection, extrasMax)
  const exemplars = await context.parts.exemplars(selection, extrasMax)
  const starts = await context.parts.starts(selection)
  for (const lists of [histograms, exemplars]) {
    const count = [...lists.values()].reduce((n, list) => n + list.length, 0)
    if (count > extrasMax)
      throw new QueryTooLarge(`More than ${extrasMax} histograms or exemplars: ask for less time or fewer series`)
  }
  let items = 0
  for (const { times } of samples.values()) items += times.length
  for (const list of [...histograms.values(), ...exemplars.values()]) items += list.length
  if (items > itemsMax)
    throw new QueryTooLarge(`The answer has more than ${itemsMax} samples: ask for less time or fewer series`)
  const messages: Uint8Array[] = []
  let inTurn = 0
  for (const { id, sorted } of inOrder(labels)) {
    const [ownSamples, ownHistograms, ownExemplars] = [samples.get(id), histograms.get(id), exemplars.get(id)]
    if (ownSamples === undefined && ownHistograms === undefined && ownExemplars === undefined) continue
    const writer = new Writer()
    writeSeries(writer, {
      labels: sorted,
      samples: [],
      exemplars: (ownExemplars ?? []).map(encodeExemplar),
      histograms: (ownHistograms ?? []).map(encodeHistogram),
    })
    if (ownSamples !== undefined) await writeSamples(writer, ownSamples, starts.get(id) ?? [])
    const message = writer.finish()
    messages.push(message)
    inTurn += message.length
    if (inTurn < PIECE_BYTES) continue
    inTurn = 0
    await nextTurn()
  }
  return { messages, items }
}

async function writeSamples(
  writer: Writer,
  { times, words }: StoredSamples,
  starts: readonly { readonly from: number; readonly since: number }[],
): Promise<void> {
  let next = 0
  for (const [i, time] of times.entries()) {
    if (i % SAMPLES_A_TURN === SAMPLES_A_TURN - 1) await nextTurn()
    while (next < starts.length && starts[next]!.from <= time) next++
    writeSampleBits(writer, time, words[2 * i]!, words[2 * i + 1]!, starts[next - 1]?.since ?? 0)
  }
}

/** Series by their labels, as Prometheus gives them. */
function inOrder(labels: ReadonlyMap<string, readonly Label[]>): { id: string; sorted: Label[]; key: string }[] {
  return [...labels]
    .map(([id, own]) => {
      const sorted = sortLabels([...own])
      return { id, sorted, key: JSON.stringify(sorted) }
    })
    .sort((x, y) => (x.key < y.key ? -1 : x.key > y.key ? 1 : 0))
}

/** Field and length of a nested message. */
function head(field: number, length: number): Uint8Array {
  return new Writer().uint32(field).uint32(length).finish()
}

function framed(length: number): number {
  return head(RESULT_FIELD, length).length + length
}
