/** Builders for bodies as senders make them. */
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
}

/** Neighbouring points of one series go into one TimeSeries. */
function seriesOf(points: readonly Point[]): SeriesToWrite[] {
  const series: { labels: [string, string][]; samples: { timestamp: number; value: number }[]; key: string }[] = []
  for (const { name, labels, time, value } of points) {
    const all = Object.entries({ __name__: name, ...labels }).sort(([a], [b]) => (a < b ? -1 : 1))
    const key = JSON.stringify(all)
    if (series.at(-1)?.key !== key) series.push({ labels: all, samples: [], key })
    series.at(-1)!.samples.push({ timestamp: time, value })
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

/** The message of remote write 2.0, before snappy. */
export function encodeRequest2(series: readonly SeriesToWrite[]): Uint8Array {
  const symbols = new Map([['', 0]])
  const ref = (text: string): number => {
    if (!symbols.has(text)) symbols.set(text, symbols.size)
    return symbols.get(text)!
  }
  const refs = series.map(({ labels }) => labels.flatMap(([name, value]) => [ref(name), ref(value)]))
  const writer = new Writer()
  for (const symbol of symbols.keys()) writer.uint32(0x22).string(symbol)
  for (const [i, { samples }] of series.entries()) {
    writer.uint32(0x2a).fork()
    writer.uint32(0x0a).fork()
    for (const r of refs[i]!) writer.uint32(r)
    writer.ldelim()
    for (const { timestamp, value } of samples) {
      writer.uint32(0x12).fork()
      if (!Object.is(value, 0)) writer.uint32(0x09).double(value)
      if (timestamp !== 0) writer.uint32(0x10).int64(timestamp)
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
