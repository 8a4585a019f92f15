/**
 * How the batches of other producers are decompressed: gzip is kafkajs' own, the others are given to it here. We compress with gzip or
 * not at all, since nothing else is taken everywhere (Azure Event Hubs).
 */
import kafkajs from 'kafkajs'
import { decodeLz4 } from '../wire/lz4.ts'
import { checkBlock, portableSnappy } from '../wire/snappy.ts'
import { WireError } from '../wire/wire-error.ts'
import { decodeZstd } from '../wire/zstd.ts'

/** A broker takes batches of about 1 MB; what decodes to so much was made to hurt. */
const DECODED_BYTES_MAX = 128 * 1024 * 1024
/** Java's snappy has a format of its own around blocks: this, two versions, and then length and bytes of each block. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0])
const XERIAL_HEAD = 16

type Decode = (bytes: Uint8Array, maxBytes: number) => Uint8Array<ArrayBufferLike>

/** Makes kafkajs read all compressions; for the whole process, as it has one table of them. */
export function installCodecs(): void {
  const { CompressionCodecs, CompressionTypes } = kafkajs
  CompressionCodecs[CompressionTypes.Snappy] = () => codec(decodeSnappy)
  CompressionCodecs[CompressionTypes.LZ4] = () => codec(decodeLz4)
  CompressionCodecs[CompressionTypes.ZSTD] = () => codec(decodeZstd)
}

function codec(decode: Decode): { compress: () => Promise<Buffer>; decompress: (bytes: Buffer) => Promise<Buffer> } {
  return {
    compress: () => Promise.reject(new Error('only read here: produce with gzip, or without compression')),
    decompress: async (bytes) => {
      const plain = decode(bytes, DECODED_BYTES_MAX)
      return Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength)
    },
  }
}

/** A block as it is (librdkafka), or blocks in Java's framing. */
export function decodeSnappy(bytes: Uint8Array, maxBytes: number): Uint8Array {
  if (XERIAL.some((byte, i) => byte !== bytes[i])) return portableSnappy.uncompress(bytes, maxBytes)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const blocks: Uint8Array[] = []
  let size = 0
  for (let pos = XERIAL_HEAD; pos < bytes.length; ) {
    const length = pos + 4 <= bytes.length ? view.getUint32(pos) : Number.POSITIVE_INFINITY
    if (pos + 4 + length > bytes.length) throw new WireError('truncated', 'snappy: a block of the framing is cut off')
    const block = bytes.subarray(pos + 4, pos + 4 + length)
    size += checkBlock(block, maxBytes - size)
    blocks.push(portableSnappy.uncompress(block, maxBytes))
    pos += 4 + length
  }
  const out = new Uint8Array(size)
  let at = 0
  for (const block of blocks) {
    out.set(block, at)
    at += block.length
  }
  return out
}
