/** Builders for bodies as senders make them. */
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

/** A remote write 1.0 body; neighbouring points of one series go into one TimeSeries. */
export function remoteWriteBody(points: readonly Point[]): Uint8Array<ArrayBuffer> {
  const series: { labels: [string, string][]; samples: { timestamp: number; value: number }[]; key: string }[] = []
  for (const { name, labels, time, value } of points) {
    const all = Object.entries({ __name__: name, ...labels }).sort(([a], [b]) => (a < b ? -1 : 1))
    const key = JSON.stringify(all)
    if (series.at(-1)?.key !== key) series.push({ labels: all, samples: [], key })
    series.at(-1)!.samples.push({ timestamp: time, value })
  }
  return Uint8Array.from(portableSnappy.compress(encodeWriteRequest(series)))
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
