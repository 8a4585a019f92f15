/**
 * The JSON metric batch of `POST /v1/metrics/batch`, as nebula's nodes and xtrace's clients send it.
 *
 *     {"metrics":[{"name":"pending_requests","labels":{"node_id":"n1"},"value":3,"timestamp":"2026-11-01T10:00:00.5Z"}]}
 *
 * Unknown fields are ignored, `labels` may be absent. A point that is wrong costs itself, never its neighbours.
 */
import { utf8Decode } from './bytes.ts'
import type { Label } from './labels.ts'
import { sortLabels, wellFormed } from './labels.ts'
import { parseRfc3339 } from './rfc3339.ts'
import { WireError } from './wire-error.ts'

/** A point with its labels in canonical order. */
export interface MetricPoint {
  readonly name: string
  readonly labels: readonly Label[]
  readonly value: number
  /** ms since the epoch; finer digits are cut off */
  readonly timestamp: number
}

/** Why one point is not taken. */
export interface PointRejection {
  readonly index: number
  readonly reason: string
}

/** The whole body is unusable. */
export class MetricBatchError extends Error {
  /** 400 the text is not JSON; 422 it is, of another shape */
  readonly status: 400 | 422

  constructor(status: 400 | 422, message: string) {
    super(message)
    this.name = 'MetricBatchError'
    this.status = status
  }
}

/**
 * Reads a batch; `point` or `reject` is called once per element, in order.
 * @throws MetricBatchError when there is no list of points to look at
 */
export function readMetricBatch(
  body: Uint8Array,
  point: (point: MetricPoint, index: number) => void,
  reject: (rejection: PointRejection) => void,
): void {
  const list = metricsOf(body)
  for (let index = 0; index < list.length; index++) {
    const result = readPoint(list[index])
    if (typeof result === 'string') reject({ index, reason: result })
    else point(result, index)
  }
}

function metricsOf(body: Uint8Array): readonly unknown[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(utf8Decode(body))
  } catch (error) {
    if (error instanceof WireError) throw new MetricBatchError(400, `body: ${error.message}`)
    throw new MetricBatchError(400, `body is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (!isRecord(parsed))
    throw new MetricBatchError(422, `body: expected an object with a list "metrics", got ${kindOf(parsed)}`)
  const metrics = parsed['metrics']
  if (!Array.isArray(metrics))
    throw new MetricBatchError(422, `metrics: expected a list of points, got ${kindOf(metrics)}`)
  return metrics
}

/** A point, or the sentence that says what is wrong with it. */
function readPoint(raw: unknown): MetricPoint | string {
  if (!isRecord(raw)) return `expected an object, got ${kindOf(raw)}`
  const { name, value, timestamp, labels } = raw
  if (typeof name !== 'string') return `name: expected a string, got ${kindOf(name)}`
  if (typeof value !== 'number' || !Number.isFinite(value))
    return `value: expected a finite number, got ${kindOf(value)}`
  if (typeof timestamp !== 'string') return `timestamp: expected an RFC 3339 string, got ${kindOf(timestamp)}`
  const time = parseRfc3339(timestamp)
  if (time === undefined) return `timestamp: "${timestamp.slice(0, 64)}" is not an RFC 3339 time with a zone`
  const canonical = readLabelObject(labels)
  if (typeof canonical === 'string') return canonical
  return { name: wellFormed(name), labels: canonical, value, timestamp: time }
}

function readLabelObject(raw: unknown): Label[] | string {
  if (raw === undefined) return []
  if (!isRecord(raw)) return `labels: expected an object, got ${kindOf(raw)}`
  const labels: Label[] = []
  for (const key of Object.keys(raw)) {
    const value = raw[key]
    if (typeof value !== 'string') return `labels.${key.slice(0, 64)}: expected a string, got ${kindOf(value)}`
    if (key === '__name__') return 'labels.__name__: the name of the metric stands in "name"'
    labels.push([wellFormed(key), wellFormed(value)])
  }
  return sortLabels(labels)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'number') return Number.isFinite(value) ? `the number ${value}` : 'a number out of range'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
