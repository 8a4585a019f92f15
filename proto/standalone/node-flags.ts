/** What Node runs our programs with: by `npm start`, by `npm run collector` and `aggregator`, and in the images (bench/README.md). */

/**
 * Its heaps are small and many, so that helpers of the garbage collector cost more than they save, and young generations that grow only
 * hold memory.
 */
export const COLLECTOR_NODE_FLAGS: readonly string[] = ['--single-threaded-gc', '--max-semi-space-size=4']

/**
 * Most of its memory is columns outside of the heap. V8 counts them, and looks through the whole heap whenever both together have grown by a
 * tenth; so it is half here.
 */
export const AGGREGATOR_NODE_FLAGS: readonly string[] = ['--heap-growing-percent=50']
