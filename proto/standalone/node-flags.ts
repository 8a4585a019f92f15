/** What Node runs our programs with: by `npm start`, by `npm run collector` and `aggregator`, and in the images (bench/README.md). */

/**
 * V8 counts what is outside of its heap (bodies, columns), and looks through the whole heap whenever both together have grown by a tenth.
 * There is much outside of small heaps here, and it is given back without V8's help; so they may grow by half.
 */
const HEAP_GROWING = '--heap-growing-percent=50'

/**
 * Its heaps are small and many, so that helpers of the garbage collector cost more than they save, and young generations that grow only
 * hold memory.
 */
export const COLLECTOR_NODE_FLAGS: readonly string[] = ['--single-threaded-gc', '--max-semi-space-size=4', HEAP_GROWING]

/** Most of its memory is columns outside of the heap. */
export const AGGREGATOR_NODE_FLAGS: readonly string[] = [HEAP_GROWING]
