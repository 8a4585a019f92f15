/**
 * Reads what is left of a refused body without keeping it: a client that is still writing would see a reset connection instead
 * of the answer. What is small is read at once, so that the connection can be used again; more comes no faster than costs others
 * nothing, however many do it.
 */
import type { IncomingMessage } from 'node:http'
import { freeLarge } from './free-now.ts'

/** More is not read to be polite. */
const BYTES_MAX = 256 * 1024 * 1024
const AT_ONCE_BYTES = 1024 * 1024
/** Between two readings (64 KiB each) of what is more, of all connections together, ms. */
const PAUSE_MS = 5

let discarding = 0

export function discardRest(request: IncomingMessage): void {
  let bytes = 0
  let slow = false
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    freeLarge(chunk) // else hundreds of them have V8 mark its whole heap
    if (bytes > BYTES_MAX) request.destroy()
    if (bytes <= AT_ONCE_BYTES) return
    if (!slow) {
      slow = true
      discarding++
    }
    request.pause()
    setTimeout(() => request.resume(), PAUSE_MS * discarding)
  })
  request.once('close', () => {
    if (slow) discarding--
  })
  request.resume()
}
