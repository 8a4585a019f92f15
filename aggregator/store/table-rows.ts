/**
 * Rows of one table on their way into ClickHouse, encoded as they come: a column is the insert's bytes already, and an insert of many
 * rows needs no turn of the event loop in which all of them are encoded at once.
 */
import { ByteWriter } from '../../proto/wire/bytes.ts'
import { nativeBlock } from './native.ts'

const TWO_32 = 4294967296

/** How a column of a table is written. */
export interface ColumnShape<T> {
  readonly name: string
  readonly type: string
  readonly write: (out: ByteWriter, row: T) => void
}

export interface TableShape<T> {
  readonly table: string
  readonly columns: readonly ColumnShape<T>[]
}

export class TableRows<T> {
  readonly table: string
  count = 0
  readonly #columns: readonly ColumnShape<T>[]
  readonly #writers: readonly ByteWriter[]

  constructor({ table, columns }: TableShape<T>) {
    this.table = table
    this.#columns = columns
    this.#writers = columns.map(() => new ByteWriter(1024))
  }

  get names(): readonly string[] {
    return this.#columns.map(({ name }) => name)
  }

  append(row: T): void {
    const columns = this.#columns
    for (let i = 0; i < columns.length; i++) columns[i]!.write(this.#writers[i]!, row)
    this.count++
  }

  /** All rows as one block, which is valid until the next row or {@link clear}. */
  block(): Uint8Array[] {
    return nativeBlock(
      this.count,
      this.#columns.map(({ name, type }, i) => ({ name, type, data: this.#writers[i]!.view() })),
    )
  }

  /** Forgets the rows and keeps the memory. */
  clear(): void {
    this.count = 0
    for (const writer of this.#writers) writer.pos = 0
  }
}

export function text<T>(name: string, of: (row: T) => string): ColumnShape<T> {
  return { name, type: 'String', write: (out, row) => out.string(of(row)) }
}

/** Milliseconds since the epoch. */
export function milliseconds<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: "DateTime64(3, 'UTC')", write: (out, row) => int64(out, of(row)) }
}

/** Microseconds since the epoch. */
export function microseconds<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: "DateTime64(6, 'UTC')", write: (out, row) => int64(out, of(row)) }
}

export function int8<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: 'Int8', write: (out, row) => out.u8(of(row) & 255) }
}

export function uint32<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: 'UInt32', write: (out, row) => out.u32(of(row)) }
}

/** @param of a whole number that JavaScript holds exactly */
export function uint64<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: 'UInt64', write: (out, row) => int64(out, of(row)) }
}

/** The same, which may be negative. */
export function signed64<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: 'Int64', write: (out, row) => int64(out, of(row)) }
}

export function float64<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: 'Float64', write: (out, row) => out.f64(of(row)) }
}

/** Seconds since the epoch. */
export function seconds<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: "DateTime('UTC')", write: (out, row) => out.u32(of(row)) }
}

/** @param of a UUID as text */
export function uuid<T>(name: string, of: (row: T) => string): ColumnShape<T> {
  return { name, type: 'UUID', write: (out, row) => writeUuid(out, of(row)) }
}

/** Six digits behind the point: sums of them are exact, and a number of bytes still fits. */
export function decimal6<T>(name: string, of: (row: T) => number): ColumnShape<T> {
  return { name, type: 'Decimal(38, 6)', write: (out, row) => int128(out, millionths(of(row))) }
}

/** A UUID is two words of 64 bits, the high one first, each little-endian. */
function writeUuid(out: ByteWriter, id: string): void {
  out.u32(Number.parseInt(id.slice(9, 13) + id.slice(14, 18), 16))
  out.u32(Number.parseInt(id.slice(0, 8), 16))
  out.u32(Number.parseInt(id.slice(28, 36), 16))
  out.u32(Number.parseInt(id.slice(19, 23) + id.slice(24, 28), 16))
}

function int64(out: ByteWriter, value: number): void {
  out.u32(value >>> 0)
  out.u32(Math.floor(value / TWO_32) >>> 0)
}

/** As a Decimal(…, 6) has it. Whole and fraction apart: the product of a large number would be rounded. */
export function millionths(value: number): bigint {
  const whole = Math.trunc(value)
  return BigInt(whole) * 1_000_000n + BigInt(Math.round((value - whole) * 1e6))
}

function int128(out: ByteWriter, value: bigint): void {
  for (let shift = 0n; shift < 128n; shift += 32n) out.u32(Number(BigInt.asUintN(32, value >> shift)))
}
