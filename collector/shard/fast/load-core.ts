/** The core in WebAssembly, built from `assembly/` by `npm run build`. */
import { existsSync, readFileSync } from 'node:fs'
import { parseRfc3339 } from '../../../proto/wire/rfc3339.ts'

/** What `assembly/index.ts` exports; offsets are in its memory. */
export interface Core {
  readonly memory: WebAssembly.Memory
  init(seedLow: number, seedHigh: number): void
  /** 0: the body is too large for the core */
  input(size: number): number
  output(): number
  seriesColumn(): number
  timesColumn(): number
  valuesColumn(): number
  columnLength(): number
  count(): number
  /** 0: the last reading did not end at labels that are not known */
  unknownKey(): number
  unknownSize(): number
  indexBytes(): number
  unsnap(length: number, max: number): number
  read1(at: number, end: number, scope: number): number
  open2(end: number, labelBytesMax: number): number
  read2(at: number, end: number, scope: number): number
  /** 0: the batch is not for the core */
  readBatch(size: number, scope: number): number
  metadataColumn(): number
  metadataPushed(): number
  staging(size: number): number
  find(at: number, size: number, scope: number): number
  remember(at: number, size: number, scope: number, series: number): number
  entriesUsed(): number
  keyOf(entry: number): number
  keyLength(entry: number): number
  scopeOf(entry: number): number
}

/** Beside this file in a build; run from source, in the build. */
const PLACES = ['./core.wasm', '../../../dist/collector/shard/fast/core.wasm']

const SECOND_LENGTH = '2026-11-01T10:00:00'.length

let compiled: WebAssembly.Module | null | undefined

/** A core with a memory of its own; undefined where it was not built or cannot run: the portable reader takes its place. */
export function newCore(seed: number): Core | undefined {
  compiled ??= compile()
  if (compiled === null) return undefined
  const ascii = new TextDecoder('latin1')
  const textAt = (at: number, size: number): string =>
    ascii.decode(new Uint8Array(core.memory.buffer, address(at), size))
  const { exports } = new WebAssembly.Instance(compiled, {
    env: { abort: outOfMemory },
    'read-batch': {
      secondOf: (at: number) => parseRfc3339(`${textAt(at, SECOND_LENGTH)}Z`) ?? Number.NaN,
      numberOf: (at: number, size: number) => Number(textAt(at, size)),
    },
  })
  const core = exports as unknown as Core
  core.init(seed | 0, Math.imul(seed, 0x9e3779b1))
  return core
}

/** Of what the core gives as one: beyond two gigabytes it comes as a negative number. */
export function address(given: number): number {
  return given >>> 0
}

/** What a call of the core threw, as it is to be told: it traps only where its memory cannot grow any more. */
export function coreError(error: unknown): unknown {
  return error instanceof WebAssembly.RuntimeError ? memoryError(error) : error
}

function compile(): WebAssembly.Module | null {
  const path = PLACES.map((place) => new URL(place, import.meta.url)).find((url) => existsSync(url))
  if (path === undefined) return null
  try {
    return new WebAssembly.Module(readFileSync(path))
  } catch (error) {
    if (error instanceof WebAssembly.CompileError) return null // without SIMD, for example
    throw error
  }
}

/** The runtime's own word for the same. */
function outOfMemory(): never {
  throw memoryError(undefined)
}

function memoryError(cause: unknown): Error {
  const text =
    'The memory for series cannot grow (a shard has 4 GiB at most, and what the system gives): use more shards or a smaller series_max'
  return new Error(text, { cause })
}
