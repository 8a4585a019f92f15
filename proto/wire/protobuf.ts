/** The only file that imports `protobufjs`: its bounds-checked reader and its writer, without reflection or generated code. */
import protobuf from 'protobufjs/minimal.js'

/** Reads one message after another from a buffer; `pos` and `len` bound it. */
export type Reader = protobuf.Reader
export const Reader: typeof protobuf.Reader = protobuf.Reader

/** Writes fields in order. */
export type Writer = protobuf.Writer
export const Writer: typeof protobuf.Writer = protobuf.Writer
