/** How far a journal is looked through, on stderr: only where that takes long. */

import { Progress } from '../../proto/runtime/progress.ts'
import type { Segment } from '../journal/recovery.ts'
import type { Console } from './console.ts'
import type { JournalPlace } from './places.ts'
import { named, size } from './wording.ts'

/** What is told while a journal is looked through. */
export interface LookingProgress {
  /** Before each segment. */
  segment(segment: Segment): void
  /** Behind each record: where it ends in its segment. */
  record(end: number): void
  end(): void
}

/** @param doing `looking through`. @param of segments and bytes there are */
export function progressOn(
  console: Console,
  doing: string,
  place: JournalPlace,
  of: { readonly segments: number; readonly bytes: number },
): LookingProgress {
  const progress = new Progress(`${doing} ${named(place.name)}`, {
    write: (text) => console.err(text),
    columns: console.columns,
    now: () => console.elapsed(),
  })
  let segments = 0
  let before = 0
  let bytes = 0
  return {
    segment: (segment) => {
      segments++
      before += bytes
      bytes = segment.bytes
    },
    record: (end) => {
      const done = before + end
      progress.update({ done, of: of.bytes, detail: `segment ${segments} of ${of.segments}, ${size(done)}` })
    },
    end: () => progress.clear(),
  }
}
