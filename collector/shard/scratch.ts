/** Memory for so many samples is kept from write to write. */
export const KEPT_SAMPLES: number = 1 << 18

/** So many are put in one by one: views of columns cost more. */
const FEW = 32

/** The samples of the bodies of one write, in columns; the memory is used again for the next write. */
export class Scratch {
  count = 0
  /** Number in the series table; below 0: refused, see {@link refusedSeries}. */
  series: Int32Array = new Int32Array(4096)
  /** Sample times, ms. */
  times: Float64Array = new Float64Array(4096)
  /** Bits of the values, two words a sample, low first. */
  words: Uint32Array = new Uint32Array(8192)
  /** The same memory as float64s. */
  values: Float64Array = new Float64Array(this.words.buffer)
  /** Since when the counters of the samples count, ms, 0: not said; meaningful only while `hasStarts`. */
  starts: Float64Array = new Float64Array(0)
  hasStarts = false

  /** A write begins. */
  begin(): void {
    this.count = 0
    this.hasStarts = false
  }

  push(series: number, time: number, low: number, high: number): void {
    const i = this.count
    if (i === this.times.length) this.#grow()
    this.series[i] = series
    this.times[i] = time
    this.words[2 * i] = low
    this.words[2 * i + 1] = high
    if (this.hasStarts) this.starts[i] = 0 // what was here is of a body that was refused
    this.count = i + 1
  }

  pushValue(series: number, time: number, value: number): void {
    this.push(series, time, 0, 0)
    this.values[this.count - 1] = value
  }

  /** Appends the first so many of columns, two words a value. */
  pushAll(series: Int32Array, times: Float64Array, words: Uint32Array, count: number): void {
    if (count < FEW) {
      for (let i = 0; i < count; i++) this.push(series[i]!, times[i]!, words[2 * i]!, words[2 * i + 1]!)
      return
    }
    const start = this.count
    const end = start + count
    while (end > this.times.length) this.#grow()
    this.series.set(series.subarray(0, count), start)
    this.times.set(times.subarray(0, count), start)
    this.words.set(words.subarray(0, 2 * count), 2 * start)
    if (this.hasStarts) this.starts.fill(0, start, end)
    this.count = end
  }

  /** Says since when the counter of the last sample counts; most senders never do. */
  setStart(start: number): void {
    if (this.starts.length < this.times.length) {
      const starts = new Float64Array(this.times.length)
      if (this.hasStarts) starts.set(this.starts)
      this.starts = starts
    } else if (!this.hasStarts) this.starts.fill(0)
    this.hasStarts = true
    this.starts[this.count - 1] = start
  }

  /** Gives memory back that only an unusually large write needed. Between writes only. */
  release(): void {
    if (this.times.length <= KEPT_SAMPLES) return
    this.begin()
    this.starts = new Float64Array(0)
    this.series = new Int32Array(4096)
    this.times = new Float64Array(4096)
    this.words = new Uint32Array(8192)
    this.values = new Float64Array(this.words.buffer)
  }

  #grow(): void {
    const capacity = this.times.length * 2
    const { series, times, words } = this
    this.series = new Int32Array(capacity)
    this.series.set(series)
    this.times = new Float64Array(capacity)
    this.times.set(times)
    this.words = new Uint32Array(capacity * 2)
    this.words.set(words)
    this.values = new Float64Array(this.words.buffer)
  }
}

/** How a scratch column says that a sample's series is refused for the reason with this number. */
export function refusedSeries(reason: number): number {
  return -1 - reason
}

/** The number of the reason again. */
export function refusalOf(series: number): number {
  return -1 - series
}
