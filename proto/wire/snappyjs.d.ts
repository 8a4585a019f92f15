/** `snappyjs` 0.7 ships no types; only what `snappy.ts` uses is stated. */
declare module 'snappyjs' {
  export function uncompress(compressed: Uint8Array, maxLength?: number): Uint8Array
  export function compress(uncompressed: Uint8Array): Uint8Array
}
