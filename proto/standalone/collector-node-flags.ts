/**
 * What Node runs a collector with, here and in `npm run collector` and the image: its heaps are small and many, so that helpers of
 * the garbage collector cost more than they save, and young generations that grow only hold memory (bench/README.md).
 */
export const COLLECTOR_NODE_FLAGS: readonly string[] = ['--single-threaded-gc', '--max-semi-space-size=4']
