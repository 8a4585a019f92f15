/** Builders for bodies as senders make them. */
import { encodeHistogram } from '../../proto/wire/native-histogram.ts'
import { Writer } from '../../proto/wire/protobuf.ts'
import type { SeriesToWrite } from '../../proto/wire/remote-write.ts'
import { encodeWriteRequest } from '../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'

export interface Point {
  /** Labels without `__name__`. */
  readonly labels: Readonly<Record<string, string>>
  readonly name: string
  /** ms since the epoch */
  readonly time: number
  readonly value: number
  /** ms since the epoch, for 2.0 */
  readonly start?: number
  /** Instead of a sample: a histogram, encoded. */
  readonly histogram?: Uint8Array
}

interface SampledSeries {
  readonly labels: [string, string][]
  readonly samples: { timestamp: number; value: number; start?: number }[]
  readonly histograms: Uint8Array[]
  readonly key: string
}

/** Neighbouring points of one series go into one TimeSeries. */
function seriesOf(points: readonly Point[]): SeriesToWrite[] {
  const series: SampledSeries[] = []
  for (const { name, labels, time, value, start, histogram } of points) {
    const all = Object.entries({ __name__: name, ...labels }).sort(([a], [b]) => (a < b ? -1 : 1))
    const key = JSON.stringify(all)
    if (series.at(-1)?.key !== key) series.push({ labels: all, samples: [], histograms: [], key })
    if (histogram !== undefined) series.at(-1)!.histograms.push(histogram)
    else series.at(-1)!.samples.push({ timestamp: time, value, ...(start === undefined ? {} : { start }) })
  }
  return series
}

/** A remote write 1.0 body. */
export function remoteWriteBody(points: readonly Point[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(portableSnappy.compress(encodeWriteRequest(seriesOf(points))))
}

/** A remote write 2.0 body. */
export function remoteWrite2Body(points: readonly Point[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(portableSnappy.compress(encodeRequest2(seriesOf(points))))
}

type Series2 = Omit<SeriesToWrite, 'samples'> & {
  readonly samples: readonly { readonly timestamp: number; readonly value: number; readonly start?: number }[]
  readonly metadata?: { readonly type: number; readonly help: string; readonly unit: string }
}

/** Symbols of a request, the empty one first, and which of them stands for a text. */
export interface Symbols {
  readonly texts: () => Iterable<string>
  readonly ref: (text: string) => number
}

/** Each text once, in the order of their first use. */
function usualSymbols(): Symbols {
  const symbols = new Map([['', 0]])
  return {
    texts: () => symbols.keys(),
    ref(text) {
      if (!symbols.has(text)) symbols.set(text, symbols.size)
      return symbols.get(text)!
    },
  }
}

/** The message of remote write 2.0, before snappy. */
export function encodeRequest2(series: readonly Series2[], symbols: Symbols = usualSymbols()): Uint8Array {
  const { ref } = symbols
  const refs = series.map(({ labels }) => labels.flatMap(([name, value]) => [ref(name), ref(value)]))
  const texts = series.map(({ metadata }) => [ref(metadata?.help ?? ''), ref(metadata?.unit ?? '')])
  const writer = new Writer()
  for (const symbol of symbols.texts()) writer.uint32(0x22).string(symbol)
  for (const [i, { samples, histograms, metadata }] of series.entries()) {
    writer.uint32(0x2a).fork()
    writer.uint32(0x0a).fork()
    for (const r of refs[i]!) writer.uint32(r)
    writer.ldelim()
    for (const { timestamp, value, start } of samples) {
      writer.uint32(0x12).fork()
      if (!Object.is(value, 0)) writer.uint32(0x09).double(value)
      if (timestamp !== 0) writer.uint32(0x10).int64(timestamp)
      if (start !== undefined) writer.uint32(0x18).int64(start)
      writer.ldelim()
    }
    for (const message of histograms ?? []) writer.uint32(0x1a).bytes(message)
    if (metadata !== undefined) {
      const [help, unit] = texts[i]!
      writer
        .uint32(0x2a)
        .fork()
        .uint32(0x08)
        .uint32(metadata.type)
        .uint32(0x18)
        .uint32(help!)
        .uint32(0x20)
        .uint32(unit!)
      writer.ldelim()
    }
    writer.ldelim()
  }
  return writer.finish()
}

/** A JSON metric batch. */
export function metricsBatchBody(points: readonly Point[]): Uint8Array<ArrayBuffer> {
  const metrics = points.map(({ name, labels, time, value }) => ({
    name,
    labels,
    value,
    timestamp: new Date(time).toISOString(),
  }))
  return Uint8Array.from(Buffer.from(JSON.stringify({ metrics })))
}

/** A histogram that is told from others by its sum. */
export function histogramOf(timestamp: number, sum: number): Uint8Array {
  return encodeHistogram({
    timestamp,
    sum,
    startTimestamp: 0,
    schema: 0,
    zeroThreshold: 0.001,
    resetHint: 0,
    stale: false,
    positiveSpans: [{ offset: 0, length: 2 }],
    negativeSpans: [],
    customValues: [],
    float: false,
    count: 3n,
    zeroCount: 0n,
    positive: [1n, 2n],
    negative: [],
  })
}
