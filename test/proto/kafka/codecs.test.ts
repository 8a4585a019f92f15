/** Reading what Java's producers compress: captured frames, and everything that is wrong with them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decodeSnappy } from '../../../proto/kafka/codecs.ts'
import { decodeLz4 } from '../../../proto/wire/lz4.ts'
import { WireError } from '../../../proto/wire/wire-error.ts'
import { decodeZstd } from '../../../proto/wire/zstd.ts'

const PLAIN = Array.from({ length: 60 }, (_, i) => `line ${i % 7} of a frame; `).join('')
const MAX = 10_000

/** Of zstd-jni 1.5.6, lz4-java 1.10 and snappy-java 1.1.10, as Kafka 4.3's clients have them. */
const FORMATS: Readonly<Record<string, { decode: (bytes: Uint8Array, max: number) => Uint8Array; frame: string }>> = {
  zstd: {
    decode: decodeZstd,
    frame:
      'KLUv/QBYlQQAMgUPE8AlHQA0YlOxOOB4QMqUEgeqMwMuV3SXK7rLFd3liu5yRXe5ortc0V2u6C5nDEUYwAiIARkxRDCbMRQhOyDg54d45zFPvPOYJ955zBPvPOaJdx7zxDuPecI7j3nincc88c5jnnjnMU+885gn3nnME+88xhPvPOaJdx7zxDuPeeKdxzzxzmOeeOcx7YnMS2M=',
  },
  lz4: {
    decode: decodeLz4,
    frame: 'BCJNGGBwczwAAADxBGxpbmUgMCBvZiBhIGZyYW1lOyATAB4xEwAeMhMAHjMTAB40EwAeNRMAHjYTAA+FAP///9VQYW1lOyAAAAAA',
  },
  snappy: {
    decode: decodeSnappy,
    frame:
      'glNOQVBQWQAAAAABAAAAAQAAAGb0CEhsaW5lIDAgb2YgYSBmcmFtZTsgBRMAMUYTAAAyRhMAADNGEwAANEYTAAA1RhMAADZGEwD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQD+hQCmhQA=',
  },
}

for (const [name, { decode, frame }] of Object.entries(FORMATS)) {
  const bytes = new Uint8Array(Buffer.from(frame, 'base64'))

  test(`${name}: a frame of Java's is what went in`, () => {
    assert.equal(Buffer.from(decode(bytes, MAX)).toString(), PLAIN)
    assert.equal(Buffer.from(decode(bytes, PLAIN.length)).toString(), PLAIN)
  })

  test(`${name}: more than allowed is refused`, () => {
    assert.throws(() => decode(bytes, PLAIN.length - 1), { name: 'WireError', code: 'too_large' })
  })

  test(`${name}: cut anywhere, it is an error or the beginning`, () => {
    for (let length = 0; length < bytes.length; length++) {
      const got = decoded(() => decode(bytes.slice(0, length), MAX))
      if (got !== undefined) assert.ok(PLAIN.startsWith(Buffer.from(got).toString()), `cut at ${length}`)
    }
  })

  test(`${name}: any bit turned gives a coded error or bytes within the bound`, () => {
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const turned = bytes.slice()
      turned[bit >> 3]! ^= 1 << (bit & 7)
      const got = decoded(() => decode(turned, MAX))
      assert.ok((got?.length ?? 0) <= MAX)
    }
  })
}

test('lz4: stored blocks, checksums and sizes in the head, frames behind each other', () => {
  const word = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24]
  const head = [0x04, 0x22, 0x4d, 0x18]
  const stored = [...word(0x80000003), 1, 2, 3]
  const first = [
    ...head,
    0x40 | 0x10 | 0x08 | 0x04,
    0x40,
    3,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    ...stored,
    ...word(9),
    ...word(0),
    ...word(9),
  ]
  const second = [...head, 0x40, 0x40, 0, ...word(4), 0x30, 4, 5, 6, ...word(0)]
  assert.deepEqual([...decodeLz4(Uint8Array.from([...first, ...second]), MAX)], [1, 2, 3, 4, 5, 6])
  const withDictionary = [...head, 0x41, 0x40, 0, 0, 0, 0, 0]
  assert.throws(() => decodeLz4(Uint8Array.from(withDictionary), MAX), { code: 'unsupported' })
})

test('zstd: a window that would take gigabytes is refused before anything is allocated', () => {
  const window = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa0, 0, 0, 0])
  assert.throws(() => decodeZstd(window, MAX), { code: 'too_large' })
  const content = Uint8Array.from([0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
  assert.throws(() => decodeZstd(content, MAX), { code: 'too_large' })
})

/** undefined for a coded error; anything else thrown is a mistake. */
function decoded(decode: () => Uint8Array): Uint8Array | undefined {
  try {
    return decode()
  } catch (error) {
    assert.ok(error instanceof WireError, String(error))
    return undefined
  }
}
