/** Requests of remote write with everything in them that they can hold, made by protobufjs and the public schemas. */
import { readFileSync } from 'node:fs'
import protobuf from 'protobufjs'

const lookUp = (version: 1 | 2, type: string): protobuf.Type =>
  protobuf
    .parse(
      readFileSync(new URL(`../../proto/schema/prometheus-remote-write-${version}.proto`, import.meta.url), 'utf8'),
    )
    .root.lookupType(type)
export const WriteRequest: protobuf.Type = lookUp(1, 'prometheus.WriteRequest')
const Request2 = lookUp(2, 'io.prometheus.write.v2.Request')

/** The stale marker as a number: its bits survive in a Float64Array. */
function STALE(): number {
  return new Float64Array(Uint32Array.of(2, 0x7ff00000).buffer)[0]!
}

/** What the requests hold, by its times. @param now ms */
export function partsAt(now: number): {
  readonly histograms: readonly Readonly<Record<string, unknown>>[]
  readonly exemplars: readonly {
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
    readonly timestamp: number
  }[]
  readonly samples: readonly { readonly timestamp: number; readonly value: number }[]
  /** Of the samples of 2.0, since when they count. */
  readonly starts: readonly number[]
} {
  /** One of each kind; as protobufjs prints them. */
  const histograms = [
    {
      countInt: '14',
      sum: 12.5,
      schema: 3,
      zeroThreshold: 2 ** -128,
      zeroCountInt: '1',
      negativeSpans: [{ length: 1 }],
      negativeDeltas: [2],
      positiveSpans: [
        { offset: -2, length: 2 },
        { offset: 3, length: 1 },
      ],
      positiveDeltas: [4, -2, 3],
      resetHint: 2,
      timestamp: now,
    },
    {
      countInt: '18446744073709551615',
      sum: Number.NaN,
      zeroCountInt: '9007199254740993',
      schema: -4,
      timestamp: now + 1,
    },
    {
      countFloat: 3.5,
      sum: -0.1,
      schema: 8,
      zeroThreshold: 0.001,
      zeroCountFloat: 0.5,
      positiveSpans: [{ length: 2 }],
      positiveCounts: [1, 2],
      resetHint: 3,
      timestamp: now + 2,
    },
    {
      countInt: '3',
      sum: 1,
      schema: -53,
      zeroCountInt: '0',
      positiveSpans: [{ offset: 1, length: 2 }],
      positiveDeltas: [1, 1],
      customValues: [-1, 0.5],
      timestamp: now + 3,
    },
    { countInt: '0', sum: STALE(), zeroCountInt: '0', timestamp: now + 4 },
  ]

  const exemplars = [
    { labels: { trace_id: 'abc', path: '/é"\n' }, value: 0.25, timestamp: now },
    { labels: {}, value: -1, timestamp: now + 1 },
  ]
  const samples = [
    { timestamp: now, value: 1.5 },
    { timestamp: now + 1000, value: -0 },
    { timestamp: now + 2000, value: Number.POSITIVE_INFINITY },
    { timestamp: now + 3000, value: Number.NaN },
    { timestamp: now + 4000, value: STALE() },
  ]

  /** Of the samples of 2.0: the counter begins again between the second and the third; the last does not say. */
  const starts = [now - 100, now - 100, now + 1500, now + 1500, 0]

  return { histograms, exemplars, samples, starts }
}

const pairs = (labels: Readonly<Record<string, string>>): { name: string; value: string }[] =>
  Object.entries(labels).map(([name, value]) => ({ name, value }))

/** The message of 1.0: series `h` and `s` with the label v=1, and metadata. */
export function fullRequest1(now: number): Uint8Array {
  const { histograms, exemplars, samples } = partsAt(now)
  const message = WriteRequest.fromObject({
    timeseries: [
      {
        labels: pairs({ __name__: 'h', v: '1' }),
        histograms: histograms.filter((h) => h['customValues'] === undefined),
      },
      {
        labels: pairs({ __name__: 's', v: '1' }),
        samples: samples,
        exemplars: exemplars.map((e) => ({ ...e, labels: pairs(e.labels) })),
      },
    ],
    metadata: [
      { type: 3, metricFamilyName: 'h', help: 'Help of h.\n"quoted"', unit: 'seconds' },
      { type: 1, metricFamilyName: 'only_metadata', help: '', unit: '' },
    ],
  })
  return WriteRequest.encode(message).finish()
}

/** The message of 2.0: the same series with v=2, with starts. */
export function fullRequest2(now: number): Uint8Array {
  const { histograms, exemplars, samples, starts } = partsAt(now)
  const symbols = ['']
  const ref = (text: string): number => {
    if (!symbols.includes(text)) symbols.push(text)
    return symbols.indexOf(text)
  }
  const refs = (labels: Readonly<Record<string, string>>): number[] =>
    Object.entries(labels).flatMap(([name, value]) => [ref(name), ref(value)])
  const timeseries = [
    {
      labelsRefs: refs({ __name__: 'h', v: '2' }),
      histograms: histograms.map((h) => ({ ...h, startTimestamp: now - 500 })),
      metadata: { type: 3, helpRef: ref('Help of h.\n"quoted"'), unitRef: ref('seconds') },
    },
    {
      labelsRefs: refs({ __name__: 's', v: '2' }),
      samples: samples.map((s, i) => ({ ...s, startTimestamp: starts[i] })),
      exemplars: exemplars.map((e) => ({ ...e, labelsRefs: refs(e.labels), labels: undefined })),
      metadata: { type: 1, helpRef: ref('Help of s.') },
    },
  ]
  return Request2.encode(Request2.fromObject({ symbols, timeseries })).finish()
}
