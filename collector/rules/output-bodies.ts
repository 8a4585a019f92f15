/** Outputs of rules as bodies of remote write 1.0: they take the way of every other sample, through a journal of their own. */
import type { Label } from '../../proto/wire/labels.ts'
import type { NativeHistogram } from '../../proto/wire/native-histogram.ts'
import { encodeHistogram } from '../../proto/wire/native-histogram.ts'
import { Writer } from '../../proto/wire/protobuf.ts'
import { STALE_HIGH, STALE_LOW, writeRequestOf, writeSampleBits, writeSeries } from '../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import type { OutputPoint } from './merger.ts'
import type { SampleHistogram } from './sample-histogram.ts'

export interface OutputBody {
  readonly tenant: string
  readonly body: Uint8Array<ArrayBuffer>
}

const SERIES_PER_BODY = 5000
const BITS = new Uint32Array(2)
const FLOAT = new Float64Array(BITS.buffer)

/** An output that no longer holds becomes a stale marker in its place: there is no way to unsay a sample. */
export function outputBodies(points: readonly OutputPoint[]): OutputBody[] {
  const byTenant = new Map<string, OutputPoint[]>()
  for (const point of points) {
    const list = byTenant.get(point.tenant)
    if (list === undefined) byTenant.set(point.tenant, [point])
    else list.push(point)
  }
  const bodies: OutputBody[] = []
  for (const [tenant, all] of byTenant) {
    for (let start = 0; start < all.length; start += SERIES_PER_BODY) {
      const message = writeRequestOf(all.slice(start, start + SERIES_PER_BODY).map(seriesMessage))
      bodies.push({ tenant, body: Uint8Array.from(portableSnappy.compress(message)) })
    }
  }
  return bodies
}

function seriesMessage({ labels, time, output }: OutputPoint): Uint8Array {
  const writer = new Writer()
  const histograms = output.kind === 'histogram' ? [encodeHistogram(native(output.histogram, time))] : []
  writeSeries(writer, { labels: labels as readonly Label[], samples: [], histograms })
  if (output.kind === 'none') writeSampleBits(writer, time, STALE_LOW, STALE_HIGH, 0)
  else if (output.kind === 'float') {
    FLOAT[0] = output.value
    writeSampleBits(writer, time, BITS[0]!, BITS[1]!, 0)
  }
  return writer.finish()
}

function native(histogram: SampleHistogram, timestamp: number): NativeHistogram {
  const { countInt, zeroCountInt, positiveDeltas, negativeDeltas, ...shape } = histogram
  return {
    ...shape,
    timestamp,
    startTimestamp: 0,
    stale: false,
    customValues: [],
    float: false,
    count: BigInt(countInt),
    zeroCount: BigInt(zeroCountInt),
    positive: countsOf(positiveDeltas),
    negative: countsOf(negativeDeltas),
  }
}

function countsOf(deltas: readonly number[]): bigint[] {
  let count = 0
  return deltas.map((delta) => {
    count += delta
    return BigInt(count)
  })
}
