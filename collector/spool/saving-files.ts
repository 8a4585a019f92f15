/** The journal's files for a repair: what is cut away is copied to quarantine before, and where it cannot be, it stays. */
import { fstatSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Files } from '../journal/files.ts'
import { nodeFiles } from '../journal/files.ts'

/** @param quarantine where cut bytes go, as `SEGMENT-OFFSET.cut`, with a number behind it where that is taken */
export function savingFiles(quarantine: string): Files {
  const paths = new Map<number, string>()
  return {
    ...nodeFiles,
    open: (path) => {
      const fd = nodeFiles.open(path)
      paths.set(fd, path)
      return fd
    },
    truncate: (fd, bytes) => {
      const rest = new Uint8Array(fstatSync(fd).size - bytes)
      for (let at = 0; at < rest.length; ) {
        const n = nodeFiles.read(fd, rest.subarray(at), bytes + at)
        if (n === 0) throw new Error('the file ended early')
        at += n
      }
      const path = paths.get(fd)!
      nodeFiles.overwrite(freeName(join(quarantine, `${basename(path)}-${bytes}.cut`), rest), 0, rest)
      nodeFiles.syncDirectory(quarantine)
      nodeFiles.truncate(fd, bytes)
      nodeFiles.sync(fd)
    },
  }
}

/** A name that is not taken, or holds just these bytes. */
function freeName(path: string, bytes: Uint8Array): string {
  for (let n = 1; ; n++) {
    const name = n === 1 ? path : `${path}-${n}`
    const there = nodeFiles.readBytes(name)
    if (there === undefined || Buffer.compare(there, bytes) === 0) return name
  }
}
