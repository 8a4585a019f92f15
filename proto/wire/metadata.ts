/**
 * What a metric is: its type, a help text, its unit.
 *
 *     MetricMetadata (1.0)  type = 1, metric_family_name = 2, help = 4, unit = 5
 */
import { utf8Decode } from './bytes.ts'
import { Reader, Writer } from './protobuf.ts'
import { asWireError, skipUnknown, tag } from './remote-write.ts'

/** By number on the wire, in Prometheus' own words. */
export const METRIC_TYPES = [
  'unknown',
  'counter',
  'gauge',
  'histogram',
  'gaugehistogram',
  'summary',
  'info',
  'stateset',
] as const

export interface MetricMetadata {
  readonly type: (typeof METRIC_TYPES)[number]
  /** The metric family's name; from a series of 2.0, that series' own metric name. */
  readonly family: string
  readonly help: string
  readonly unit: string
}

const TYPE = tag(1, 0)
const FAMILY = tag(2, 2)
const HELP = tag(4, 2)
const UNIT = tag(5, 2)

/** A type that is not known yet is `unknown`. */
export function metricType(number: number): MetricMetadata['type'] {
  return METRIC_TYPES[number] ?? 'unknown'
}

/**
 * Reads the message of 1.0 at body[start..end).
 * @throws WireError when the bytes are no such message, or a text is not UTF-8
 */
export function readMetadata(body: Uint8Array, start = 0, end: number = body.length): MetricMetadata {
  const reader = new Reader(body)
  reader.pos = start
  reader.len = end
  let type = 0
  let family = ''
  let help = ''
  let unit = ''
  try {
    while (reader.pos < end) {
      const field = reader.tag()
      if (field === TYPE) type = reader.uint32()
      else if (field === FAMILY) family = utf8Decode(reader.bytes())
      else if (field === HELP) help = utf8Decode(reader.bytes())
      else if (field === UNIT) unit = utf8Decode(reader.bytes())
      else skipUnknown(reader, field, TYPE, FAMILY, HELP, UNIT)
    }
  } catch (error) {
    throw asWireError(error, reader)
  }
  return { type: metricType(type), family, help, unit }
}

/** The message of 1.0: equal metadata gives equal bytes. */
export function encodeMetadata({ type, family, help, unit }: MetricMetadata): Uint8Array {
  const writer = new Writer()
  const number = METRIC_TYPES.indexOf(type)
  if (number !== 0) writer.uint32(TYPE).uint32(number)
  if (family !== '') writer.uint32(FAMILY).string(family)
  if (help !== '') writer.uint32(HELP).string(help)
  if (unit !== '') writer.uint32(UNIT).string(unit)
  return writer.finish()
}
