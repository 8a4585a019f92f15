/**
 * A fleet as DCGM exporter shows it: nodes × 8 GPUs × 30 metrics, 8 labels each beside the name (and `pod` where asked for),
 * values that move as those of GPUs do. Requests are made the way a Prometheus makes them, 2,000 samples each, all samples of one
 * round with one timestamp; the same samples also as remote write 2.0.
 */
import { utf8Encode } from '../proto/wire/bytes.ts'
import { Writer } from '../proto/wire/protobuf.ts'
import { portableSnappy } from '../proto/wire/snappy.ts'

export const GPUS = 8
export const SAMPLES_PER_REQUEST = 2000

/** Next value of a metric. @param before the last one, 0 at first  @param random 0 to 1 */
type Walk = (before: number, random: number, busy: boolean) => number

const constant =
  (value: number): Walk =>
  () =>
    value
const percent: Walk = (_, random, busy) => (busy ? 85 + Math.floor(random * 16) : Math.floor(random * 3))
const share: Walk = (_, random, busy) => (busy ? Math.round((0.4 + random * 0.5) * 1e6) / 1e6 : 0)
const counter =
  (step: number): Walk =>
  (before, random) =>
    before + Math.floor(random * step)
const around =
  (middle: number, width: number): Walk =>
  (_, random) =>
    middle + Math.round(random * width)

const METRICS: readonly (readonly [string, Walk])[] = [
  ['DCGM_FI_DEV_SM_CLOCK', (_, random, busy) => (busy ? 1755 + 15 * Math.floor(random * 16) : 345)],
  ['DCGM_FI_DEV_MEM_CLOCK', constant(2619)],
  ['DCGM_FI_DEV_MEMORY_TEMP', around(48, 6)],
  ['DCGM_FI_DEV_GPU_TEMP', around(41, 9)],
  ['DCGM_FI_DEV_POWER_USAGE', (_, random, busy) => Math.round((busy ? 520 + random * 170 : 72 + random) * 1000) / 1000],
  ['DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION', counter(9_000_000)],
  ['DCGM_FI_DEV_PCIE_REPLAY_COUNTER', constant(0)],
  ['DCGM_FI_DEV_GPU_UTIL', percent],
  ['DCGM_FI_DEV_MEM_COPY_UTIL', percent],
  ['DCGM_FI_DEV_ENC_UTIL', constant(0)],
  ['DCGM_FI_DEV_DEC_UTIL', constant(0)],
  ['DCGM_FI_DEV_XID_ERRORS', constant(0)],
  ['DCGM_FI_DEV_POWER_VIOLATION', counter(2000)],
  ['DCGM_FI_DEV_THERMAL_VIOLATION', constant(0)],
  ['DCGM_FI_DEV_FB_FREE', around(12_000, 40)],
  ['DCGM_FI_DEV_FB_USED', around(69_000, 40)],
  ['DCGM_FI_DEV_FB_RESERVED', constant(551)],
  ['DCGM_FI_DEV_ECC_SBE_VOL_TOTAL', constant(0)],
  ['DCGM_FI_DEV_ECC_DBE_VOL_TOTAL', constant(0)],
  ['DCGM_FI_DEV_RETIRED_SBE', constant(0)],
  ['DCGM_FI_DEV_RETIRED_DBE', constant(0)],
  ['DCGM_FI_DEV_ROW_REMAP_FAILURE', constant(0)],
  ['DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL', counter(90_000_000)],
  ['DCGM_FI_PROF_GR_ENGINE_ACTIVE', share],
  ['DCGM_FI_PROF_SM_ACTIVE', share],
  ['DCGM_FI_PROF_SM_OCCUPANCY', share],
  ['DCGM_FI_PROF_PIPE_TENSOR_ACTIVE', share],
  ['DCGM_FI_PROF_DRAM_ACTIVE', share],
  ['DCGM_FI_PROF_PCIE_TX_BYTES', (_, random, busy) => (busy ? Math.floor(random * 2e9) : Math.floor(random * 1e5))],
  ['DCGM_FI_PROF_PCIE_RX_BYTES', (_, random, busy) => (busy ? Math.floor(random * 2e9) : Math.floor(random * 1e5))],
]

const TAG_TIMESERIES = 0x0a
const TAG_LABEL = 0x0a
const TAG_SAMPLE = 0x12
const TAG_VALUE = 0x09
const TAG_TIMESTAMP = 0x10
const SAMPLE_BYTES_MAX = 24

// Remote write 2.0.
const TAG_SYMBOL = 0x22
const TAG_SERIES_2 = 0x2a
const TAG_REFS = 0x0a
const TAG_METADATA = 0x2a

type LabelPair = readonly [name: string, value: string]

export class Fleet {
  /** The latest value of each series. */
  readonly values: Float64Array
  /** Bytes of all label names and values, of all series. */
  labelBytes = 0
  readonly #pods: boolean
  /** Encoded label fields of each series. */
  readonly #labels: Uint8Array[] = []
  readonly #walks: Walk[] = []
  readonly #scratch = new Uint8Array(SAMPLES_PER_REQUEST * 1024)
  readonly #view = new DataView(this.#scratch.buffer)
  /** Of all values so far. */
  sum = 0
  #next = 0
  #time = 0
  #seed = 42

  /** @param pods each GPU has a pod on it, and its series the label */
  constructor(nodes: number, pods = false) {
    this.#pods = pods
    for (let series = 0; series < nodes * GPUS * METRICS.length; series++) {
      const labels = this.#labelsOf(series)
      for (const [name, value] of labels) this.labelBytes += name.length + value.length
      this.#labels.push(encodeLabels(labels))
      this.#walks.push(METRICS[series % METRICS.length]![1])
    }
    this.values = new Float64Array(this.#labels.length)
  }

  get series(): number {
    return this.#labels.length
  }

  /** The next 2,000 series' samples as a remote write 1.0 body: all series in turn, one timestamp a round. @param now ms */
  request(now: number): Uint8Array<ArrayBuffer> {
    let at = 0
    for (let i = 0; i < SAMPLES_PER_REQUEST; i++) {
      const s = this.#next
      if (s === 0) this.#time = Math.max(this.#time + 1, now)
      this.#next = (s + 1) % this.#labels.length
      const value = this.#walks[s]!(this.values[s]!, this.#random(), (s >> 8) % 4 !== 0)
      this.values[s] = value
      this.sum += value
      at = this.#write(at, this.#labels[s]!, this.#time, value)
    }
    return Uint8Array.from(portableSnappy.compress(this.#scratch.subarray(0, at)))
  }

  /** The samples of the last request as a remote write 2.0 body. */
  request2(): Uint8Array<ArrayBuffer> {
    const writer = Writer.create()
    const symbols = new Map([['', 0]])
    writer.uint32(TAG_SYMBOL).string('')
    const refOf = (text: string): number => {
      const known = symbols.get(text)
      if (known !== undefined) return known
      writer.uint32(TAG_SYMBOL).string(text)
      symbols.set(text, symbols.size)
      return symbols.size - 1
    }
    const count = this.#labels.length
    const first = (this.#next - (SAMPLES_PER_REQUEST % count) + count) % count
    const refs = Array.from({ length: SAMPLES_PER_REQUEST }, (_, i) =>
      this.#labelsOf((first + i) % count).flatMap(([name, value]) => [refOf(name), refOf(value)]),
    )
    for (const [i, of] of refs.entries()) {
      writer.uint32(TAG_SERIES_2).fork().uint32(TAG_REFS).fork()
      for (const ref of of) writer.uint32(ref)
      writer.ldelim().uint32(TAG_SAMPLE).fork()
      writer.uint32(TAG_VALUE).double(this.values[(first + i) % count]!)
      writer.uint32(TAG_TIMESTAMP).int64(this.#time)
      writer.ldelim().uint32(TAG_METADATA).uint32(0).ldelim() // as a Prometheus that knows none says it
    }
    return Uint8Array.from(portableSnappy.compress(writer.finish()))
  }

  #labelsOf(series: number): readonly LabelPair[] {
    const gpu = Math.floor(series / METRICS.length) % GPUS
    const node = Math.floor(series / METRICS.length / GPUS)
    return labelsOf(METRICS[series % METRICS.length]![0], node, gpu, this.#pods)
  }

  #write(start: number, labels: Uint8Array, time: number, value: number): number {
    const out = this.#scratch
    let at = start + 3 + labels.length + 2 // a label block and a sample take between 128 and 16,383 bytes: a varint of two
    out.set(labels, start + 3)
    const sample = at
    out[at++] = TAG_VALUE
    this.#view.setFloat64(at, value, true)
    at += 8
    out[at++] = TAG_TIMESTAMP
    for (let rest = time; ; rest = Math.floor(rest / 128)) {
      if (rest < 128) {
        out[at++] = rest
        break
      }
      out[at++] = (rest % 128) | 0x80
    }
    out[sample - 2] = TAG_SAMPLE
    out[sample - 1] = at - sample
    const size = at - start - 3
    out[start] = TAG_TIMESERIES
    out[start + 1] = (size & 0x7f) | 0x80
    out[start + 2] = size >> 7
    return at
  }

  #random(): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) | 0
    return (this.#seed >>> 0) / 4294967296
  }
}

function labelsOf(metric: string, node: number, gpu: number, pods: boolean): readonly LabelPair[] {
  const host = `gpu-${String(node).padStart(4, '0')}`
  const uuid = `GPU-${(node * GPUS + gpu + 0x3f2a1000).toString(16)}-77d2-4c1e-9a3b-${(node * 7919 + gpu).toString(16).padStart(12, '0')}`
  return [
    ['DCGM_FI_DRIVER_VERSION', '550.90.07'],
    ['Hostname', host],
    ['UUID', uuid],
    ['__name__', metric],
    ['device', `nvidia${gpu}`],
    ['gpu', String(gpu)],
    ['instance', `${host}:9400`],
    ['job', 'dcgm-exporter'],
    ['modelName', 'NVIDIA H100 80GB HBM3'],
    ...(pods ? [['pod', `training-${(node * 104729 + gpu).toString(36).padStart(5, '0')}`] as const] : []),
  ]
}

function encodeLabels(labels: readonly LabelPair[]): Uint8Array {
  const writer = Writer.create()
  for (const [key, value] of labels) {
    writer.uint32(TAG_LABEL).fork()
    writer.uint32(0x0a).bytes(utf8Encode(key)).uint32(0x12).bytes(utf8Encode(value))
    writer.ldelim()
  }
  const bytes = writer.finish()
  if (bytes.length < 128 || bytes.length + SAMPLE_BYTES_MAX > 16_383) throw new Error('label block of unusual size')
  return bytes
}
