/** Bodies of requests: read within a budget, and given up with a status when they cannot be had. */
import type { IncomingMessage } from 'node:http'
import { FairShare } from './fair-share.ts'
import { freeLarge } from './free-now.ts'

const NO_BODY = new Uint8Array(0)

/** The body cannot be had. Without a status there is nobody left to answer. */
export class BodyError extends Error {
  readonly status: 400 | 413 | 503 | undefined

  constructor(status: BodyError['status'], message: string) {
    super(message)
    this.name = 'BodyError'
    this.status = status
  }
}

/** Where the bytes of one body are counted while it comes. */
export interface ByteBudget {
  /** @throws BodyError 503 when there is no room now */
  take(bytes: number): void
  give(bytes: number): void
}

/** Memory for bodies that are on their way in, all together; no sender can use up all of it. */
export class ReceivingBudget {
  readonly #max: number
  readonly #shares: FairShare

  /**
   * @param max bytes; one body may have them all
   * @param bodyMax bytes of the largest body, which every sender may have
   */
  constructor(max: number, bodyMax: number) {
    this.#max = max
    this.#shares = new FairShare(max, bodyMax)
  }

  of(sender: string): ByteBudget {
    const shares = this.#shares
    return {
      take: (bytes) => {
        const used = shares.total
        const full = used > 0 && used + bytes > this.#max
        if (full || !shares.allows(sender, bytes))
          throw new BodyError(
            503,
            `Bodies of ${used} bytes are on their way in, of at most ${this.#max}${full ? '' : ', and this sender has its share of them'}: send this again`,
          )
        shares.take(sender, bytes)
      },
      give: (bytes) => shares.give(sender, bytes),
    }
  }
}

/**
 * Reads a small body as it came: where that was in one piece, as nearly all are, it is a view of memory that is not its own.
 * @param length as the request states it
 * @throws BodyError 503 when the budget is used up
 */
export function readSmallBody(request: IncomingMessage, length: number, budget?: ByteBudget): Promise<Uint8Array> {
  let body: Uint8Array = NO_BODY
  let at = 0
  return consume(
    request,
    (chunk) => {
      if (chunk.length === length) body = chunk
      else {
        if (at === 0) body = new Uint8Array(length)
        body.set(chunk, at)
      }
      at += chunk.length
    },
    () => body,
    budget,
  )
}

/**
 * Reads a body into memory of its own, so that it can be given away to a thread.
 * @param allocate for a body whose length is stated; what it gives may hold anything
 * @throws BodyError 413 as soon as it is known to be over the limit, before it is read; 503 when the budget is used up
 */
export function readBody(
  request: IncomingMessage,
  maxBytes: number,
  budget?: ByteBudget,
  allocate: (length: number) => Uint8Array<ArrayBuffer> = (length) => new Uint8Array(length),
): Promise<Uint8Array<ArrayBuffer>> {
  const tooLarge = (): BodyError => new BodyError(413, `The body is over the limit of ${maxBytes} bytes`)
  const stated = request.headers['content-length']
  if (stated !== undefined) {
    const length = Number(stated)
    if (length > maxBytes) return Promise.reject(tooLarge())
    // What is stated costs nothing before it comes: the memory is taken page by page.
    const body = allocate(length)
    let at = 0
    const fill = (chunk: Buffer): void => {
      body.set(chunk, at)
      at += chunk.length
      freeLarge(chunk)
    }
    return consume(request, fill, () => body, budget)
  }
  const chunks: Buffer[] = []
  let size = 0
  const keep = (chunk: Buffer): void => {
    size += chunk.length
    if (size > maxBytes) throw tooLarge()
    chunks.push(chunk)
  }
  return consume(request, keep, () => joined(chunks, size), budget)
}

function joined(chunks: readonly Buffer[], size: number): Uint8Array<ArrayBuffer> {
  const body = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.length
  }
  return body
}

/**
 * In one promise, since small requests are many.
 * @param take what comes; it may throw
 * @param whole what was read, once it is all here
 */
function consume<T>(
  request: IncomingMessage,
  take: (chunk: Buffer) => void,
  whole: () => T,
  budget: ByteBudget | undefined,
): Promise<T> {
  // Of a body that is given up nothing is kept: the rest of it may take long to come, and its budget is free again.
  let reading: { readonly take: (chunk: Buffer) => void; readonly whole: () => T } | undefined = { take, whole }
  return new Promise((resolve, reject) => {
    let taken = 0
    const giveBack = (): void => {
      budget?.give(taken)
      taken = 0
    }
    const fail = (error: unknown): void => {
      request.pause()
      request.removeAllListeners('data')
      giveBack()
      reading = undefined
      reject(error)
    }
    request.on('data', (chunk: Buffer) => {
      try {
        budget?.take(chunk.length)
        taken += chunk.length
        reading?.take(chunk)
      } catch (error) {
        fail(error)
      }
    })
    request.on('end', () => {
      giveBack()
      if (reading !== undefined) resolve(reading.whole())
    })
    request.on('error', () => fail(new BodyError(undefined, 'The connection ended inside the body')))
    request.on('close', () => {
      if (!request.complete) fail(new BodyError(undefined, 'The connection ended inside the body'))
    })
  })
}
