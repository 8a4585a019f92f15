/** `fs-native-extensions` 1.5 ships no types; only what `directory-lock.ts` uses is stated. */
declare module 'fs-native-extensions' {
  /** Takes an exclusive lock on the whole file; false when another open file has it. */
  export function tryLock(fd: number): boolean
}
