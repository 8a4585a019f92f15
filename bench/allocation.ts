/** How much V8 allocates, by its own trace (`--trace-gc`): what a heap grew by between two collections, of all threads together. */

/** `[1234:0x5d2c8a0]   873 ms: Scavenge 7.9 (9.6) -> 7.5 (10.1) MB, …`; kinds may say more in brackets. */
const COLLECTION = /^\[\d+:(0x[0-9a-f]+)\] +\d+ ms: [^0-9]*?(\d+\.\d) \(\d+\.\d\) -> (\d+\.\d) \(\d+\.\d\) MB/gm
const MB = 1024 * 1024

/**
 * @param trace what a process printed that was started with `--trace-gc`
 * @param from where in it to begin: the collections before only say how large heaps were
 * @returns bytes, of each thread that collected, the most first; what was allocated since its last collection is missing
 */
export function allocations(trace: string, from: number): number[] {
  const left = new Map<string, number>()
  const allocated = new Map<string, number>()
  for (const { index, 1: isolate, 2: before, 3: after } of trace.matchAll(COLLECTION)) {
    const grown = Number(before) - (left.get(isolate!) ?? 0)
    left.set(isolate!, Number(after))
    if (index >= from) allocated.set(isolate!, (allocated.get(isolate!) ?? 0) + grown * MB)
  }
  return [...allocated.values()].sort((a, b) => b - a)
}
