/** Cuts a binary result into rows of a fixed size, over the borders of chunks. */
export async function* fixedRows(chunks: AsyncIterable<Buffer>, size: number): AsyncIterable<Buffer> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    for (; at + size <= buffer.length; at += size) yield buffer.subarray(at, at + size)
    rest = buffer.subarray(at)
  }
}
