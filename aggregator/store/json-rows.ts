/** Rows of a JSONEachRow result as they come: what is large is read in pieces, with other work between them. */
export async function* jsonRows<T>(chunks: AsyncIterable<Buffer>): AsyncIterable<T> {
  // Of a line whose end has not come: put together once, since one may come in a thousand pieces.
  let rest: Buffer[] = []
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(LINE_END, start); end >= 0; end = chunk.indexOf(LINE_END, start)) {
      const line = chunk.subarray(start, end)
      yield JSON.parse((rest.length === 0 ? line : Buffer.concat([...rest, line])).toString('utf8')) as T
      rest = []
      start = end + 1
    }
    if (start < chunk.length) rest.push(chunk.subarray(start))
  }
  if (rest.length > 0) yield JSON.parse(Buffer.concat(rest).toString('utf8')) as T
}

const LINE_END = 10
