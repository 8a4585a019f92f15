/** The only file that imports `protobufjs`: its bounds-checked reader and its writer, without reflection or generated code. */
import protobuf from 'protobufjs/minimal.js'

/** Reads one message after another from a buffer; `pos` and `len` bound it. */
export type Reader = protobuf.Reader
export const Reader: typeof protobuf.Reader = protobuf.Reader

/** Writes fields in order. */
export type Writer = protobuf.Writer
export const Writer: typeof protobuf.Writer = protobuf.Writer

/** What its reader says of bytes that it cannot read; it has no codes, and a test holds each of these to it. */
const READER_SAYS =
  /^(?:index out of range|invalid (?:varint|tag|length) encoding|invalid wire type|illegal tag|invalid end group tag|max depth exceeded)/
const READER_THROWS: ReadonlySet<unknown> = new Set([Error.prototype, RangeError.prototype])

/** Whether the reader threw it because of the bytes. Anything else, such as a trap of WebAssembly in a sink, is a bug. */
export function isReaderError(error: unknown): error is Error {
  return error instanceof Error && READER_THROWS.has(Object.getPrototypeOf(error)) && READER_SAYS.test(error.message)
}
