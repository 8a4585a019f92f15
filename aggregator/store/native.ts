/**
 * ClickHouse's Native format for inserts: a block is its columns one after the other, each as the engine holds it in memory,
 * so that nothing is parsed on either side.
 * @see https://clickhouse.com/docs/interfaces/formats/Native
 */
import { ByteWriter } from '../../proto/wire/bytes.ts'

/** A column's values, encoded: fixed-width types little-endian, strings as varint length and bytes. */
export interface Column {
  readonly name: string
  readonly type: string
  readonly data: Uint8Array
}

export function nativeBlock(rows: number, columns: readonly Column[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  const head = new ByteWriter(16)
  head.varint(columns.length)
  head.varint(rows)
  parts.push(head.take())
  for (const { name, type, data } of columns) {
    head.string(name)
    head.string(type)
    parts.push(head.take(), data)
  }
  return parts
}

/** Strings as a column. */
export function stringColumn(values: Iterable<string>): Uint8Array {
  const out = new ByteWriter(1024)
  for (const value of values) out.string(value)
  return out.take()
}

/** Lists of strings as a column: end positions, then the elements of all lists. */
export function stringListColumn(values: readonly (readonly string[])[]): Uint8Array {
  const ends = new BigUint64Array(values.length)
  let end = 0n
  for (const [i, list] of values.entries()) {
    end += BigInt(list.length)
    ends[i] = end
  }
  const elements = stringColumn(values.flat())
  const out = new Uint8Array(ends.byteLength + elements.length)
  out.set(new Uint8Array(ends.buffer))
  out.set(elements, ends.byteLength)
  return out
}

/** The same for numbers, which are put into one typed array without a list of all in between. */
export function numberListColumn<T extends number | bigint>(
  lists: readonly (readonly T[])[],
  make: (length: number) => { [index: number]: T } & ArrayBufferView,
): Uint8Array {
  const ends = new BigUint64Array(lists.length)
  const elements = make(lists.reduce((n, list) => n + list.length, 0))
  let end = 0
  for (const [i, list] of lists.entries()) {
    for (let k = 0; k < list.length; k++) elements[end + k] = list[k]!
    end += list.length
    ends[i] = BigInt(end)
  }
  const out = new Uint8Array(ends.byteLength + elements.byteLength)
  out.set(bytesOf(ends))
  out.set(bytesOf(elements), ends.byteLength)
  return out
}

/** The bytes of a typed array; ClickHouse and every machine that we run on are little-endian. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}
