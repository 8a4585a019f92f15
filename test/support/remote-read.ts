/** A client of remote read: protobufjs and the public schema, nothing of the product but snappy. */
import { readFileSync } from 'node:fs'
import protobuf from 'protobufjs'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { authorized } from './programs.ts'

const schema = protobuf.parse(
  // The field that 2.0 adds to two messages comes back too.
  `${readFileSync(new URL('../../proto/schema/prometheus-remote-write-1.proto', import.meta.url), 'utf8')
    .replace(/message Sample {/, '$& int64 start_timestamp = 3;')
    .replace(/message Histogram {/, '$& int64 start_timestamp = 17;')}
   message ReadRequest { repeated Query queries = 1; }
   message Query { int64 start_timestamp_ms = 1; int64 end_timestamp_ms = 2; repeated LabelMatcher matchers = 3; }
   message LabelMatcher { int32 type = 1; string name = 2; string value = 3; }
   message ReadResponse { repeated QueryResult results = 1; }
   message QueryResult { repeated TimeSeries timeseries = 1; }`,
)
const ReadRequest = schema.root.lookupType('prometheus.ReadRequest')
const ReadResponse = schema.root.lookupType('prometheus.ReadResponse')

export interface ReadSeries {
  readonly labels: Readonly<Record<string, string>>
  readonly samples: readonly { readonly timestamp: number; readonly value: number; readonly startTimestamp: number }[]
  /** As protobufjs prints them, 64-bit numbers as text. */
  readonly histograms: readonly Readonly<Record<string, unknown>>[]
  readonly exemplars: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
    readonly timestamp: number
  }[]
}

export interface Matcher {
  readonly type: 0 | 1 | 2 | 3
  readonly name: string
  readonly value: string
}

interface Pairs {
  readonly name: string
  readonly value: string
}

/** What is zero is missing. */
interface RawSeries {
  readonly labels: Pairs[]
  readonly samples?: { readonly timestamp: string; readonly value?: number; readonly startTimestamp?: string }[]
  readonly histograms?: Record<string, unknown>[]
  readonly exemplars?: { readonly labels?: Pairs[]; readonly value?: number; readonly timestamp: string }[]
}

/** @throws when the answer is not 200 */
export async function readSeries(
  url: string,
  matchers: readonly Matcher[],
  from: number,
  to: number,
): Promise<ReadSeries[]> {
  const response = await fetch(`${url}/api/v1/read`, {
    method: 'POST',
    headers: { ...authorized, 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
    body: readRequest(matchers, from, to),
  })
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`)
  return seriesOfAnswer(new Uint8Array(await response.arrayBuffer()))
}

/** The body of a request with one query. */
export function readRequest(matchers: readonly Matcher[], from: number, to: number): Uint8Array<ArrayBuffer> {
  const message = ReadRequest.fromObject({ queries: [{ startTimestampMs: from, endTimestampMs: to, matchers }] })
  return Uint8Array.from(portableSnappy.compress(ReadRequest.encode(message).finish()))
}

/** The series of the answer to it. */
export function seriesOfAnswer(block: Uint8Array): ReadSeries[] {
  const answer = ReadResponse.decode(portableSnappy.uncompress(block, 1 << 28))
  const { results } = ReadResponse.toObject(answer, { longs: String, enums: Number }) as {
    results: { timeseries?: RawSeries[] }[]
  }
  return (results[0]!.timeseries ?? []).map(({ labels, samples, histograms, exemplars }) => ({
    labels: named(labels),
    samples: (samples ?? []).map(({ timestamp, value, startTimestamp }) => ({
      timestamp: Number(timestamp),
      value: value ?? 0,
      startTimestamp: Number(startTimestamp ?? 0),
    })),
    histograms: histograms ?? [],
    exemplars: (exemplars ?? []).map((e) => ({
      labels: named(e.labels),
      value: e.value ?? 0,
      timestamp: Number(e.timestamp),
    })),
  }))
}

function named(labels: readonly Pairs[] = []): Record<string, string> {
  return Object.fromEntries(labels.map(({ name, value }) => [name, value ?? '']))
}
