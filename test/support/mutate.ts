/** Damage, as a hostile or broken sender does it. */
import type { Random } from './random.ts'

/** A few bytes changed, cut off, repeated, or a length made huge. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array<ArrayBuffer> {
  const out = Array.from(bytes)
  for (let n = random.pick([1, 1, 2, 4]); n > 0; n--) {
    const at = random.between(0, Math.max(0, out.length - 1))
    switch (random.between(0, 5)) {
      case 0:
        out[at]! ^= 1 << random.between(0, 7)
        break
      case 1:
        out[at] = random.pick([0, 0x7f, 0x80, 0xff])
        break
      case 2:
        out.length = at
        break
      case 3:
        out.splice(at, 0, ...out.slice(at, at + random.between(1, 40)))
        break
      case 4:
        out.splice(at, 1, 0xff, 0xff, 0xff, 0xff, random.pick([0x0f, 0x7f, 0xff, 0x01]))
        break
      default:
        out.splice(at, random.between(1, 10))
    }
  }
  return Uint8Array.from(out)
}
