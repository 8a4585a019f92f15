/**
 * Gives memory back at once. A buffer that nobody holds any more is freed when the garbage collector looks at it, and until then V8
 * counts it: large bodies, of which hundreds come between two looks, have it mark its whole heap, and each is written to memory that no cache
 * of the processor has.
 */

/** ES2024; of Node from 21 on. */
type Transferable = ArrayBuffer & { transfer?(length: number): ArrayBuffer }

/** Of smaller pieces the garbage collector is cheaper. */
const FREED_BYTES_MIN = 8 * 1024

/** To give a thread a buffer takes it away here: to one that is not there, it is gone. */
const nobody = closedPort()

/**
 * Frees what these bytes lie in, where they are all that lies in it: from then on they have no length.
 * @param bytes whose buffer nobody else uses
 */
export function freeNow(bytes: Uint8Array): void {
  const { buffer } = bytes
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength !== bytes.byteLength) return
  const { transfer } = buffer as Transferable
  if (transfer === undefined) nobody.postMessage(undefined, [buffer])
  else transfer.call(buffer, 0)
}

/** The same of a piece of a body that is large enough for it to be cheaper than the garbage collector. */
export function freeLarge(chunk: Uint8Array): void {
  if (chunk.length >= FREED_BYTES_MIN) freeNow(chunk)
}

function closedPort(): MessagePort {
  const { port1, port2 } = new MessageChannel()
  port2.close()
  port1.close()
  return port1
}
