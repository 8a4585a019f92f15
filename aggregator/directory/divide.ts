/** A whole amount in parts by weight, so that the parts add up to it: the largest remainder method. */

/**
 * Each part is its exact share, rounded down or up. What rounding down leaves goes to the largest remainders, of equal ones to the
 * first. Weights that are all 0 count the same.
 * @param amount may be negative, as adjustments are
 * @param weights not negative, at least one
 */
export function divide(amount: bigint, weights: readonly bigint[]): bigint[] {
  if (weights.length === 0 || weights.some((weight) => weight < 0n))
    throw new RangeError('expected at least one weight, and none below 0')
  if (amount < 0n) return divide(-amount, weights).map((part) => -part)
  const sum = weights.reduce((a, b) => a + b, 0n)
  if (sum === 0n)
    return divide(
      amount,
      weights.map(() => 1n),
    )
  const parts = weights.map((weight) => (amount * weight) / sum)
  const remainders = weights.map((weight, i) => ({ i, left: (amount * weight) % sum }))
  remainders.sort((a, b) => (a.left === b.left ? a.i - b.i : a.left > b.left ? -1 : 1))
  const rest = amount - parts.reduce((a, b) => a + b, 0n)
  for (const { i } of remainders.slice(0, Number(rest))) parts[i]! += 1n
  return parts
}
