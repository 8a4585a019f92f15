/** Builders for batches, as a collector makes them. */

import { sha256 } from '../../proto/runtime/sha256.ts'
import type { BatchHeader, SeriesDefinition } from '../../proto/wire/batch.ts'
import { BatchBuilder, encodeDefinitions } from '../../proto/wire/batch.ts'
import type { Extra } from '../../proto/wire/batch-extras.ts'
import { crc32c } from '../../proto/wire/crc32c.ts'
import { decimalExponent, decimalMantissa, RAW_FLOAT } from '../../proto/wire/decimal.ts'
import type { Label } from '../../proto/wire/labels.ts'
import { SeriesIds, sortLabels } from '../../proto/wire/labels.ts'

const ids = new SeriesIds(sha256)

export interface BatchPoint {
  readonly ref: number
  /** ms */
  readonly time: number
  /** µs */
  readonly at: number
  readonly value: number
}

export function definition(
  ref: number,
  name: string,
  labels: Readonly<Record<string, string>>,
  tenant = 'default',
): SeriesDefinition {
  const sorted = sortLabels(Object.entries(labels) as Label[])
  return { ref, tenant, id: ids.of(name, sorted), name, labels: sorted }
}

const BITS = new Uint32Array(2)
const FLOAT = new Float64Array(BITS.buffer)

let position = 0

/** Each holds a range of its own, unless the header says which. */
export function batchOf(
  points: readonly BatchPoint[],
  definitions: readonly SeriesDefinition[],
  header: Partial<BatchHeader> = {},
  extras: readonly Extra[] = [],
): Uint8Array<ArrayBuffer> {
  const builder = new BatchBuilder()
  for (const extra of extras) builder.extras.extra(extra)
  for (const d of definitions) builder.define(d)
  for (const { ref, time, at, value } of points) {
    const e = decimalExponent(value, 0)
    if (e === RAW_FLOAT) {
      FLOAT[0] = value
      builder.float(ref, time, at, BITS[0]!, BITS[1]!)
    } else builder.decimal(ref, time, at, e, decimalMantissa(value, e))
  }
  const from = position
  position += points.length + extras.length
  return builder.finish({
    collector: 'c',
    session: 's',
    shard: 0,
    shards: 1,
    from,
    to: position,
    cursor: 0,
    now: 0,
    urgent: true,
    ...header,
  })
}

/** A section of definitions that ends within the last one, with a checksum that fits: a defect of whoever wrote it. */
export function cutDefinitions(definitions: readonly SeriesDefinition[]): Uint8Array {
  const section = encodeDefinitions(definitions).slice(0, -1)
  const view = new DataView(section.buffer)
  view.setUint32(1, section.length - SECTION_HEAD_BYTES, true)
  view.setUint32(5, crc32c(section, SECTION_HEAD_BYTES, section.length), true)
  return section
}

/** Its kind, length and checksum. */
const SECTION_HEAD_BYTES = 9
