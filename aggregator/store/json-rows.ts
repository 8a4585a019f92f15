/** Rows of a JSONEachRow result as they come: what is large is read in pieces, with other work between them. */
export async function* jsonRows<T>(chunks: AsyncIterable<Buffer>): AsyncIterable<T> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of chunks) {
    const buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let start = 0
    for (let end = buffer.indexOf(LINE_END, start); end >= 0; end = buffer.indexOf(LINE_END, start)) {
      yield JSON.parse(buffer.toString('utf8', start, end)) as T
      start = end + 1
    }
    rest = buffer.subarray(start)
  }
  if (rest.length > 0) yield JSON.parse(rest.toString('utf8')) as T
}

const LINE_END = 10
