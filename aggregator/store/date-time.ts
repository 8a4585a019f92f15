/** A DateTime of ClickHouse counts seconds in 32 bits: what is later than 2106 would begin again in 1970. */
const SECONDS_MAX = 4_294_967_295

/** A moment as such a column has it, the nearest one where it has none. @param ms since the epoch */
export function dateTimeSeconds(ms: number): number {
  return Math.min(SECONDS_MAX, Math.max(0, Math.floor(ms / 1000)))
}
