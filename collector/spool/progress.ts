/** A line on stderr now and then while a journal is looked through: only where that takes long. */
import type { Console } from './console.ts'
import type { Looking } from './survey.ts'
import { named, size } from './wording.ts'

const EVERY_MS = 2000

export function progressOn(console: Console): NonNullable<Looking['progress']> {
  let said = console.elapsed()
  return (place, segments, of, bytes, ofBytes) => {
    if (console.elapsed() - said < EVERY_MS) return
    said = console.elapsed()
    console.err(`${named(place.name)}: segment ${segments} of ${of}, ${size(bytes)} of ${size(ofBytes)}\n`)
  }
}
