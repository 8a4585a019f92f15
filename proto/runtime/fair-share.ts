/**
 * A bound that several share, so that one of them cannot use up all of it: below half, everybody takes what comes; beyond
 * half, nobody may hold more than the bound divided by one more than there are holders. Alone that is half, so there is
 * always room for the next one who comes.
 */
export class FairShare {
  readonly #bound: number
  readonly #least: number
  readonly #held = new Map<string, number>()
  #total = 0

  /** @param least what anybody may hold, however many there are */
  constructor(bound: number, least: number) {
    this.#bound = bound
    this.#least = least
  }

  /** All that is held. */
  get total(): number {
    return this.#total
  }

  holds(holder: string): boolean {
    return this.#held.has(holder)
  }

  /** What a holder may hold now, where the half is passed. */
  share(holder: string): number {
    return Math.max(this.#shareOf(holder, this.#bound), this.#least)
  }

  /** Whether a holder may have that much more. */
  allows(holder: string, amount: number): boolean {
    if (this.#total + amount <= this.#bound / 2) return true
    return (this.#held.get(holder) ?? 0) + amount <= this.share(holder)
  }

  /** The same for a bound that changes, and is one for all together too; whoever holds nothing may have something of any size. */
  allowsWithin(bound: number, holder: string, amount: number): boolean {
    if (this.#total + amount <= bound / 2) return true
    const held = this.#held.get(holder)
    return this.#total <= bound && (held === undefined || held + amount <= this.#shareOf(holder, bound))
  }

  take(holder: string, amount: number): void {
    this.#held.set(holder, (this.#held.get(holder) ?? 0) + amount)
    this.#total += amount
  }

  /** Gives back what was taken. */
  give(holder: string, amount: number): void {
    const left = (this.#held.get(holder) ?? 0) - amount
    if (left > 0) this.#held.set(holder, left)
    else this.#held.delete(holder)
    this.#total -= amount
  }

  #shareOf(holder: string, bound: number): number {
    const others = this.#held.size - (this.#held.has(holder) ? 1 : 0)
    return bound / (others + 2)
  }
}
