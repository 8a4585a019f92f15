/** Remote write 1.0. */
import { beginReading, endReading, meetUnknown, takeSample } from './columns'
import { E_KEY, E_LENGTH, E_SERIES, entryAt, expected, lookUp, NONE, step } from './entries'
import { nestedAt, nestedEnd, pastLabels, TAG_LABEL, TAG_SAMPLE, TAG_SERIES } from './fields'
import { equal } from './memory'
import { outputAt } from './snappy'

/**
 * Reads the remote write 1.0 message in output[at, end) into the columns: series that are known and hold samples only.
 * @returns the offset of the first message that is anything else, or for which the columns have no room; `end` when there is none
 */
export function read1(at: u32, end: u32, scope: u32): u32 {
  let p = outputAt + <usize>at
  const limit = outputAt + <usize>end
  let n: u32 = 0
  beginReading()
  while (p < limit) {
    if (<u32>load<u8>(p) != TAG_SERIES) break
    const close = nestedEnd(p + 1, limit)
    if (close == 0) break
    const key = nestedAt
    let q = key
    let entry = expected(scope)
    if (entry >= 0) {
      const e = entryAt(entry)
      const after = key + (load<u32>(e, E_LENGTH) as usize)
      if (
        after <= close &&
        (after == close || (load<u8>(after) as u32) != TAG_LABEL) &&
        equal(key, load<u32>(e, E_KEY), load<u32>(e, E_LENGTH))
      )
        q = after
      else entry = NONE
    }
    if (entry < 0) {
      q = pastLabels(key, close)
      if (q == 0) break
      entry = lookUp(key, (q - key) as u32, scope)
      if (entry < 0) {
        meetUnknown(key, (q - key) as u32)
        break
      }
    }
    const series = load<i32>(entryAt(entry), E_SERIES)
    const before = n
    while (q < close) {
      if (<u32>load<u8>(q) != TAG_SAMPLE) break
      const next = takeSample(q + 1, close, series, n, false)
      if (next == 0) break
      n++
      q = next
    }
    if (q != close) {
      n = before
      break
    }
    step(entry)
    p = close
  }
  endReading(n)
  return <u32>(p - outputAt)
}
