/** JSON values as one text each, whatever the order of their keys: what ids and digests are made of. */

/** Deeper values are refused: nothing real has such, and each level costs stack. */
export const DEPTH_MAX = 32

/** Keys sorted by their UTF-16 units, no blanks. @see https://www.rfc-editor.org/rfc/rfc8785 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const fields = Object.keys(value).sort()
  return `{${fields.map((key) => `${JSON.stringify(key)}:${canonicalJson((value as Record<string, unknown>)[key])}`).join(',')}}`
}

/** Whether it is nested deeper than {@link DEPTH_MAX}. */
export function isTooDeep(value: unknown, left: number = DEPTH_MAX): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (left === 0) return true
  for (const key in value) if (isTooDeep((value as Record<string, unknown>)[key], left - 1)) return true
  return false
}
