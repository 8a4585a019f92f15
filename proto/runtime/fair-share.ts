/** Who holds nothing is forgotten beyond so many, and as many again as hold something. */
const IDLE_MAX = 1000

/**
 * A bound that several share, so that one of them cannot use up all of it: below half, everybody takes what comes; beyond
 * half, nobody may hold more than the bound divided by one more than there are holders. Alone that is half, so there is
 * always room for the next one who comes.
 */
export class FairShare {
  readonly #bound: number
  readonly #least: number
  /** Whoever gave all back stays for a while, at 0: a map that gains and loses an entry with each request is built anew all the time. */
  readonly #held = new Map<string, number>()
  #holders = 0
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
    return this.#heldBy(holder) > 0
  }

  /** Those that are remembered, whether they hold something or not. */
  get remembered(): number {
    return this.#held.size
  }

  /** What a holder may hold now, where the half is passed. */
  share(holder: string): number {
    return Math.max(this.#shareOf(holder, this.#bound), this.#least)
  }

  /** Whether a holder may have that much more. */
  allows(holder: string, amount: number): boolean {
    if (this.#total + amount <= this.#bound / 2) return true
    return this.#heldBy(holder) + amount <= this.share(holder)
  }

  /** The same for a bound that changes, and is one for all together too; whoever holds nothing may have something of any size. */
  allowsWithin(bound: number, holder: string, amount: number): boolean {
    if (this.#total + amount <= bound / 2) return true
    const held = this.#heldBy(holder)
    return this.#total <= bound && (held === 0 || held + amount <= this.#shareOf(holder, bound))
  }

  take(holder: string, amount: number): void {
    if (amount === 0) return
    const held = this.#heldBy(holder)
    if (held === 0) this.#holders++
    this.#held.set(holder, held + amount)
    this.#total += amount
    if (this.#held.size > 2 * this.#holders + IDLE_MAX) this.#forgetIdle()
  }

  /** Gives back what was taken. */
  give(holder: string, amount: number): void {
    if (amount === 0) return
    const left = this.#heldBy(holder) - amount
    if (left === 0) this.#holders--
    this.#held.set(holder, left)
    this.#total -= amount
  }

  #heldBy(holder: string): number {
    return this.#held.get(holder) ?? 0
  }

  #shareOf(holder: string, bound: number): number {
    const others = this.#holders - (this.holds(holder) ? 1 : 0)
    return bound / (others + 2)
  }

  #forgetIdle(): void {
    for (const [holder, held] of this.#held) if (held === 0) this.#held.delete(holder)
  }
}
