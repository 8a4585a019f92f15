/** What a person did wrong, or what stands in the way: said on stderr, exit code 2. */
export class SpoolError extends Error {
  /** @param message what was wrong, where, and what to do */
  constructor(message: string) {
    super(message)
    this.name = 'SpoolError'
  }
}
