/**
 * A sum of whole numbers that stays exact beyond 2^53: a tenant's microseconds pass that in a few years. Two doubles, so that it costs
 * what doubles cost and not what a BigInt does.
 *
 *     value = high · 2^50 + low, 0 ≤ low < 2^50
 */

const BASE = 2 ** 50

export class ExactSum {
  #high = 0
  #low = 0

  /** @param value whole, at most 2^53 in size */
  static of(value: number): ExactSum {
    return new ExactSum().add(value)
  }

  static ofBigInt(value: bigint): ExactSum {
    const sum = new ExactSum()
    sum.#low = Number(BigInt.asUintN(50, value))
    sum.#high = Number(value >> 50n)
    return sum
  }

  /** @param amount whole, at most 2^53 in size */
  add(amount: number): this {
    const carry = Math.floor(amount / BASE)
    return this.#plus(carry, amount - carry * BASE)
  }

  addSum(other: ExactSum): this {
    return this.#plus(other.#high, other.#low)
  }

  minusSum(other: ExactSum): this {
    return this.#plus(-other.#high, -other.#low)
  }

  clear(): void {
    this.#high = 0
    this.#low = 0
  }

  copy(): ExactSum {
    return new ExactSum().addSum(this)
  }

  /** -1: less than zero, 0: nothing, 1: more. */
  get sign(): -1 | 0 | 1 {
    if (this.#high < 0) return -1
    return this.#high === 0 && this.#low === 0 ? 0 : 1
  }

  /** Whether a + b + more ≤ limit. One step of a decision: it makes nothing. @param more whole, 0 to 2^53 */
  static fits(a: ExactSum, b: ExactSum, more: number, limit: ExactSum): boolean {
    const carry = Math.floor(more / BASE)
    const low = a.#low + b.#low + (more - carry * BASE) - limit.#low // |low| < 2^52
    return (a.#high + b.#high + carry - limit.#high) * BASE + low <= 0
  }

  /** The nearest double: for shares and gauges, never for a decision. */
  toNumber(): number {
    return this.#high * BASE + this.#low
  }

  /** Where a double is exact; undefined beyond 2^53. */
  toSafeInteger(): number | undefined {
    const value = this.toNumber()
    return Number.isSafeInteger(value) ? value : undefined
  }

  toBigInt(): bigint {
    return (BigInt(this.#high) << 50n) + BigInt(this.#low)
  }

  #plus(high: number, low: number): this {
    const sum = this.#low + low
    const carry = Math.floor(sum / BASE)
    this.#high += high + carry
    this.#low = sum - carry * BASE
    return this
  }
}
