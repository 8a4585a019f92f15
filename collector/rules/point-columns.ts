/**
 * Memory of points, used again: a window gives its columns back when it is forgotten, and the next one takes them. Taken from the system
 * anew, each would cost its pages, and so many bytes come and go that the garbage collector would look through all groups for them.
 */

/** Of so many points, 14 bytes each, in one piece of memory. */
export class PointColumns {
  readonly capacity: number
  /** Bits of the values, two words a point, low first, and the same memory as float64s. */
  readonly words: Uint32Array
  readonly values: Float64Array
  /** Time, ms before the window's end. */
  readonly before: Uint32Array
  /** Which series of its piece. */
  readonly series: Uint16Array

  constructor(capacity: number) {
    const memory = new ArrayBuffer(BYTES_PER_POINT * capacity)
    this.capacity = capacity
    this.words = new Uint32Array(memory, 0, 2 * capacity)
    this.values = new Float64Array(memory, 0, capacity)
    this.before = new Uint32Array(memory, 8 * capacity, capacity)
    this.series = new Uint16Array(memory, 12 * capacity, capacity)
  }
}

const BYTES_PER_POINT = 14
export const CAPACITY_MIN = 64

export class PointMemory {
  /** Points that there is room for in what was taken, and in what lies here. */
  #taken = 0
  #kept = 0
  /** What lies here, by its capacity. */
  readonly #free = new Map<number, PointColumns[]>()

  /** Room for points that nobody uses. */
  get kept(): number {
    return this.#kept
  }

  /** Room for at least so many points, at most a quarter more; of any content. */
  take(points: number): PointColumns {
    const capacity = capacityFor(points)
    this.#taken += capacity
    const columns = this.#free.get(capacity)?.pop()
    if (columns === undefined) return new PointColumns(capacity)
    this.#kept -= capacity
    return columns
  }

  /** What was taken here and nobody uses any more. No more lies here than is in use. */
  give(columns: PointColumns): void {
    this.#taken -= columns.capacity
    this.#kept += columns.capacity
    const free = this.#free.get(columns.capacity)
    if (free === undefined) this.#free.set(columns.capacity, [columns])
    else free.push(columns)
    for (const [capacity, unused] of this.#free) {
      if (this.#kept <= this.#taken) return
      while (this.#kept > this.#taken && unused.pop() !== undefined) this.#kept -= capacity
    }
  }
}

/** Four sizes to each doubling. */
function capacityFor(points: number): number {
  const wanted = Math.max(CAPACITY_MIN, points)
  const step = 2 ** Math.max(0, Math.floor(Math.log2(wanted)) - 2)
  return Math.ceil(wanted / step) * step
}
