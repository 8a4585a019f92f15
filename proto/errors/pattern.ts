/**
 * Where a rule's words stand in a text. A pattern is words with gaps: `CANCELLED AT * DUE TO TIME LIMIT` asks for the pieces in this order
 * on one line; letters match in either case; the first and the last letter must begin and end a word, unless the pattern begins or ends
 * with `*`. Only plain searches, so that no text takes more than linear time.
 *
 * What is quoted in prose, or part of a URL, is no match: `label "CUDA out of memory" is unknown` and `https://h/?q=cuda+error` say
 * nothing of this run, while the value in `{"error": "CUDA out of memory"}` does.
 */

export interface Span {
  /** Index of the first UTF-16 unit. */
  readonly start: number
  /** Index after the last one. */
  readonly end: number
}

export interface Pattern {
  readonly pieces: readonly string[]
  readonly openStart: boolean
  readonly openEnd: boolean
}

/** Between two pieces; more than the longest path or address that programs print there. */
const GAP_MAX = 400

/** Places of one pattern that are looked at in one text: more than these are the same line over and over. */
const PLACES_MAX = 64

/** How far back the beginning of a URL is looked for. */
const URL_MAX = 512

export function compile(pattern: string): Pattern {
  const pieces = fold(pattern)
    .split('*')
    .map((piece) => piece.trim())
    .filter((piece) => piece !== '')
  if (pieces.length === 0) throw new Error(`A pattern needs words: "${pattern}"`)
  return { pieces, openStart: pattern.startsWith('*'), openEnd: pattern.endsWith('*') }
}

/** Lower case, of the same length: the one letter that grows in lower case is replaced. */
export function fold(text: string): string {
  return text.replaceAll('İ', 'i').toLowerCase()
}

/** @param folded a text after {@link fold} */
export function find(pattern: Pattern, folded: string): Span | undefined {
  const first = pattern.pieces[0] ?? ''
  let start = folded.indexOf(first)
  for (let places = 0; start !== -1 && places < PLACES_MAX; places++) {
    const end = endOfRest(pattern, folded, start + first.length)
    if (end !== undefined && isWhole(pattern, folded, start, end) && isSaid(folded, start, end)) return { start, end }
    start = folded.indexOf(first, start + 1)
  }
  return undefined
}

function endOfRest({ pieces }: Pattern, folded: string, after: number): number | undefined {
  let end = after
  for (let i = 1; i < pieces.length; i++) {
    const piece = pieces[i] ?? ''
    const room = folded.slice(end, end + GAP_MAX + piece.length)
    const lineEnd = room.indexOf('\n')
    const at = room.indexOf(piece)
    if (at === -1 || (lineEnd !== -1 && lineEnd < at)) return undefined
    end += at + piece.length
  }
  return end
}

function isWhole({ openStart, openEnd }: Pattern, folded: string, start: number, end: number): boolean {
  return (openStart || !joins(folded, start)) && (openEnd || !joins(folded, end))
}

/** Whether the units before and at `index` belong to one word. */
function joins(folded: string, index: number): boolean {
  return isWordUnit(folded.charCodeAt(index - 1)) && isWordUnit(folded.charCodeAt(index))
}

function isWordUnit(unit: number): boolean {
  return (unit >= 0x61 && unit <= 0x7a) || (unit >= 0x30 && unit <= 0x39) || unit === 0x5f
}

/** Not quoted in prose and not inside a URL. */
export function isSaid(folded: string, start: number, end: number): boolean {
  const quote = folded[start - 1] ?? ''
  if ('"\'`'.includes(quote) && quote !== '' && folded[end] === quote && !isValue(folded, start - 2, end + 1))
    return false
  return !isInUrl(folded, start)
}

/** Whether the quotes around make it a value of JSON, of a log's field or of a call, and not a quotation. */
function isValue(folded: string, before: number, after: number): boolean {
  if (folded[before] === '=') return true
  let left = before
  while (folded[left] === ' ' || folded[left] === '\\') left--
  let right = after
  while (folded[right] === ' ' || folded[right] === '\\') right++
  const opens = left < 0 || '\n:([{,'.includes(folded[left] ?? '')
  return opens && (right >= folded.length || '\n,)]};'.includes(folded[right] ?? ''))
}

function isInUrl(folded: string, start: number): boolean {
  for (let i = start - 1; i >= Math.max(0, start - URL_MAX); i--) {
    const unit = folded.charCodeAt(i)
    if (unit <= 0x20 || unit === 0x22 || unit === 0x27 || unit === 0x3c) return false
    if (unit === 0x3a && folded.startsWith('://', i)) return true
  }
  return false
}
