/**
 * A sum of doubles that is rounded once, at its end: it does not depend on the order of its terms, nor on how they were
 * divided over shards.
 *
 * The running sum is a list of doubles that do not overlap, smallest first, whose exact sum it is (Shewchuk's expansions, as
 * in Python's `math.fsum`). For readings of a few decimals that is one or two numbers.
 * @see J. R. Shewchuk, Adaptive Precision Floating-Point Arithmetic (1997), section 2.4
 */

/** Every double is a whole multiple of 2^-1074. */
const UNIT_BITS = 1074

export class ExactSum {
  /** Terms from here on are kept apart: the rest cannot overflow on the way, whatever the order. A term below is its own sum. */
  static readonly PLAIN_MAX: number = 2 ** 960
  /** The largest of the list, and the others, smallest first: usually there are none, and no array is made for them. */
  #top = 0
  #rest: number[] | undefined = undefined
  #huge: number[] | undefined = undefined
  /** Sum of infinities and NaN: in any order the same. */
  #special = 0

  add(term: number): void {
    if (!(Math.abs(term) < ExactSum.PLAIN_MAX)) {
      if (!Number.isFinite(term)) this.#special += term
      else if (this.#huge === undefined) this.#huge = [term]
      else this.#huge.push(term)
      return
    }
    const x = this.#rest === undefined ? term : carry(this.#rest, term)
    const y = this.#top
    const sum = x + y
    const error = twoSumError(x, y, sum)
    this.#top = sum
    if (error === 0) return
    if (this.#rest === undefined) this.#rest = [error]
    else this.#rest.push(error)
  }

  /** Appends doubles whose exact sum is this one. */
  terms(into: number[]): void {
    for (const partial of this.#rest ?? []) into.push(partial)
    into.push(this.#top)
    for (const term of this.#huge ?? []) into.push(term)
    if (this.#special !== 0) into.push(this.#special)
  }

  /** The double nearest to the sum; +0 for an empty one. */
  get value(): number {
    if (this.#special !== 0) return this.#special
    if (this.#huge !== undefined) return fromUnits(this.#units())
    return this.#rest === undefined ? this.#top + 0 : rounded([...this.#rest, this.#top])
  }

  /** The sum divided by a count; finite terms have a finite mean, though their sum may not be. */
  mean(count: number): number {
    const sum = this.value
    if (Number.isFinite(sum) || this.#special !== 0) return sum / count
    return fromUnits(this.#units() / BigInt(count))
  }

  #units(): bigint {
    let units = toUnits(this.#top)
    for (const term of this.#rest ?? []) units += toUnits(term)
    for (const term of this.#huge ?? []) units += toUnits(term)
    return units
  }
}

/** Adds a term to a list, but for what is largest then. @returns that */
function carry(list: number[], term: number): number {
  let x = term
  let kept = 0
  for (let i = 0; i < list.length; i++) {
    const y = list[i]!
    const sum = x + y
    const error = twoSumError(x, y, sum)
    if (error !== 0) list[kept++] = error
    x = sum
  }
  list.length = kept
  return x
}

/** What rounding took from a sum of two, exactly. */
export function twoSumError(x: number, y: number, sum: number): number {
  return Math.abs(x) < Math.abs(y) ? x - (sum - y) : y - (sum - x)
}

/** The double nearest to the sum of doubles that do not overlap, smallest first; ties to even. */
function rounded(partials: readonly number[]): number {
  let i = partials.length - 1
  let high = i < 0 ? 0 : partials[i]!
  let low = 0
  while (i > 0 && low === 0) {
    const x = high
    const y = partials[--i]!
    high = x + y
    low = y - (high - x)
  }
  // `low` may be half a unit of `high`, and what is below it decides to which side that falls.
  if (i > 0 && low !== 0 && Math.sign(low) === Math.sign(partials[i - 1]!)) {
    const doubled = low * 2
    const other = high + doubled
    if (other - high === doubled) high = other
  }
  return high + 0 // -0 is +0
}

const bits = new DataView(new ArrayBuffer(8))

/** A finite double as a multiple of 2^-1074. */
function toUnits(value: number): bigint {
  bits.setFloat64(0, value)
  const word = bits.getBigUint64(0)
  const exponent = (word >> 52n) & 0x7ffn
  const fraction = word & 0xfffffffffffffn
  const magnitude = exponent === 0n ? fraction : (fraction | 0x10000000000000n) << (exponent - 1n)
  return value < 0 ? -magnitude : magnitude
}

/** The double nearest to a multiple of 2^-1074; ties to even. */
function fromUnits(units: bigint): number {
  const magnitude = units < 0n ? -units : units
  const shift = Math.max(0, magnitude.toString(16).length * 4 - 68)
  const dropped = magnitude & ((1n << BigInt(shift)) - 1n)
  // At least 64 bits are left where any are dropped; the lowest says whether there was more below.
  const kept = (magnitude >> BigInt(shift)) | (dropped === 0n ? 0n : 1n)
  const value = Number(kept) * 2 ** (shift - UNIT_BITS)
  return units < 0n ? -value : value
}
