/** Columns that grow: copies one typed array into a larger one, and gives that. */
export function grown<T extends { set(from: T): void }>(from: T, into: T): T {
  into.set(from)
  return into
}
