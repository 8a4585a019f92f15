import type { Files } from '../../collector/journal/files.ts'

/** What the next append does instead of succeeding. */
export type AppendFault = 'full' | 'short' | 'short and stuck' | 'io'

/**
 * A file system in memory that keeps what was written over a kill, as a page cache does, and fails when told to.
 * "short": half of the bytes are written; "stuck": the cut back to the good length fails too.
 */
export class MemoryFiles implements Files {
  readonly content: Map<string, Uint8Array> = new Map()
  readonly #open = new Map<number, string>()
  #fd = 100
  #stuck = false
  nextAppend: AppendFault | undefined
  nextSync: 'io' | undefined
  nextOverwrite: 'full' | undefined
  /** As long as it is set: nothing can be changed (EROFS), or nothing opened (EMFILE). */
  fault: 'EROFS' | 'EMFILE' | undefined

  get openFiles(): number {
    return this.#open.size
  }

  makeDirectory(): void {}

  list(path: string): string[] {
    return [...this.content.keys()]
      .filter((name) => name.startsWith(`${path}/`) && !name.slice(path.length + 1).includes('/'))
      .map((name) => name.slice(path.length + 1))
  }

  size(path: string): number {
    return this.#bytes(path).length
  }

  open(path: string): number {
    this.#fail('EROFS', 'EMFILE')
    if (!this.content.has(path)) this.content.set(path, new Uint8Array(0))
    return this.#opened(path)
  }

  #opened(path: string): number {
    const fd = this.#fd++
    this.#open.set(fd, path)
    return fd
  }

  openToRead(path: string): number {
    this.#fail('EMFILE')
    return this.#opened(path)
  }

  close(fd: number): void {
    if (!this.#open.delete(fd)) throw new Error(`EBADF: ${fd} is not open`)
  }

  append(fd: number, parts: readonly Uint8Array[]): number {
    this.#fail('EROFS')
    const fault = this.nextAppend
    this.nextAppend = undefined
    if (fault === 'full') throw errno('ENOSPC')
    if (fault === 'io') throw errno('EIO')
    const whole = Buffer.concat(parts)
    const written = fault === undefined ? whole : whole.subarray(0, whole.length >> 1)
    this.#stuck = fault === 'short and stuck'
    const path = this.#path(fd)
    this.content.set(path, Uint8Array.from(Buffer.concat([this.#bytes(path), written])))
    return written.length
  }

  read(fd: number, into: Uint8Array, at: number): number {
    const from = this.#bytes(this.#path(fd)).subarray(at, at + into.length)
    into.set(from)
    return from.length
  }

  truncate(fd: number, bytes: number): void {
    this.#fail('EROFS')
    if (this.#stuck) throw errno('EIO')
    const path = this.#path(fd)
    this.content.set(path, this.#bytes(path).slice(0, bytes))
  }

  sync(): void {
    this.#fail('EROFS')
    const fault = this.nextSync
    this.nextSync = undefined
    if (fault !== undefined) throw errno('EIO')
  }

  syncDirectory(): void {
    this.#fail('EMFILE')
  }

  remove(path: string): void {
    this.#fail('EROFS')
    if (!this.content.delete(path)) throw errno('ENOENT')
  }

  write(path: string, content: Uint8Array): void {
    this.#fail('EROFS', 'EMFILE')
    this.content.set(path, content.slice())
  }

  replace(path: string, content: Uint8Array): void {
    this.#fail('EROFS', 'EMFILE')
    const fault = this.nextAppend
    this.nextAppend = undefined
    if (fault !== undefined) throw errno(fault === 'io' ? 'EIO' : 'ENOSPC')
    this.content.set(path, content.slice())
  }

  readBytes(path: string): Uint8Array | undefined {
    return this.content.get(path)
  }

  overwrite(path: string, at: number, content: Uint8Array): void {
    this.#fail('EROFS', 'EMFILE')
    const fault = this.nextOverwrite
    this.nextOverwrite = undefined
    if (fault !== undefined) throw errno('ENOSPC')
    const before = this.content.get(path) ?? new Uint8Array(0)
    const after = new Uint8Array(Math.max(before.length, at + content.length))
    after.set(before)
    after.set(content, at)
    this.content.set(path, after)
  }

  /** The process is gone: its descriptors are closed, the content stays. */
  kill(): void {
    this.#open.clear()
    this.#stuck = false
  }

  #fail(...faults: string[]): void {
    if (this.fault !== undefined && faults.includes(this.fault)) throw errno(this.fault)
  }

  #path(fd: number): string {
    const path = this.#open.get(fd)
    if (path === undefined) throw new Error(`EBADF: ${fd} is not open`)
    return path
  }

  #bytes(path: string): Uint8Array {
    const bytes = this.content.get(path)
    if (bytes === undefined) throw errno('ENOENT')
    return bytes
  }
}

function errno(code: string): Error {
  return Object.assign(new Error(`${code}: on purpose`), { code })
}
