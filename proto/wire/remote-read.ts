/**
 * Prometheus remote read, of the messages what a server of samples needs.
 *
 *     ReadRequest    queries = 1, accepted_response_types = 2 (0 samples, 1 streamed chunks)
 *     Query          start_timestamp_ms = 1, end_timestamp_ms = 2 (both inclusive), matchers = 3
 *     LabelMatcher   type = 1 (0 =, 1 !=, 2 =~, 3 !~), name = 2, value = 3
 *     ReadResponse   results = 1 (QueryResult), which have timeseries = 1: `TimeSeries` of remote write 1.0
 *
 * @see https://prometheus.io/docs/prometheus/latest/querying/remote_read_api/
 */
import { utf8Decode } from './bytes.ts'
import { Reader } from './protobuf.ts'
import { asWireError, enter, leave, skipUnknown, tag } from './remote-write.ts'
import { readInt64 } from './varint64.ts'
import { WireError } from './wire-error.ts'

export const MATCHER_OPERATORS = ['=', '!=', '=~', '!~'] as const

export interface ReadMatcher {
  readonly operator: (typeof MATCHER_OPERATORS)[number]
  readonly name: string
  readonly value: string
}

export interface ReadQuery {
  /** ms since the epoch, inclusive; any int64. */
  readonly from: number
  readonly to: number
  readonly matchers: readonly ReadMatcher[]
}

const VARINT = 0
const LENGTH = 2
const QUERIES = tag(1, LENGTH)
const QUERY_START = tag(1, VARINT)
const QUERY_END = tag(2, VARINT)
const QUERY_MATCHERS = tag(3, LENGTH)
const MATCHER_TYPE = tag(1, VARINT)
const MATCHER_NAME = tag(2, LENGTH)
const MATCHER_VALUE = tag(3, LENGTH)
const QUERIES_MAX = 100
const MATCHERS_MAX = 100

/** @throws WireError when the bytes are no such message, or it asks for more than anybody needs */
export function readReadRequest(body: Uint8Array): ReadQuery[] {
  const reader = new Reader(body)
  const queries: ReadQuery[] = []
  try {
    while (reader.pos < body.length) {
      const field = reader.tag()
      if (field !== QUERIES) {
        skipUnknown(reader, field, QUERIES)
        continue
      }
      if (queries.length === QUERIES_MAX)
        throw new WireError('too_large', `read request: more than ${QUERIES_MAX} queries`)
      const end = enter(reader, body.length)
      queries.push(readQuery(reader, end))
      leave(reader, end, body.length)
    }
    return queries
  } catch (error) {
    throw asWireError(error, reader)
  }
}

function readQuery(reader: Reader, end: number): ReadQuery {
  let from = 0
  let to = 0
  const matchers: ReadMatcher[] = []
  while (reader.pos < end) {
    const field = reader.tag()
    if (field === QUERY_START) from = readInt64(reader)
    else if (field === QUERY_END) to = readInt64(reader)
    else if (field === QUERY_MATCHERS) {
      if (matchers.length === MATCHERS_MAX)
        throw new WireError('too_large', `read request: more than ${MATCHERS_MAX} matchers`)
      const matcherEnd = enter(reader, end)
      matchers.push(readMatcher(reader, matcherEnd))
      leave(reader, matcherEnd, end)
    } else skipUnknown(reader, field, QUERY_START, QUERY_END, QUERY_MATCHERS)
  }
  return { from, to, matchers }
}

function readMatcher(reader: Reader, end: number): ReadMatcher {
  let type = 0
  let name = ''
  let value = ''
  while (reader.pos < end) {
    const field = reader.tag()
    if (field === MATCHER_TYPE) type = reader.uint32()
    else if (field === MATCHER_NAME) name = utf8Decode(reader.bytes())
    else if (field === MATCHER_VALUE) value = utf8Decode(reader.bytes())
    else skipUnknown(reader, field, MATCHER_TYPE, MATCHER_NAME, MATCHER_VALUE)
  }
  const operator = MATCHER_OPERATORS[type]
  if (operator === undefined) throw new WireError('malformed', `read request: matcher type ${type} does not exist`)
  return { operator, name, value }
}

/** Fields in front of a nested message of this many bytes: one more result, or one more series of it. */
export const RESULT_FIELD: number = tag(1, LENGTH)
