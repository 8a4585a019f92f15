/**
 * What a decoder of this folder answers to bytes that it cannot take.
 *
 * Closed list, so that a receiver can turn each code into one status and one counter:
 * `truncated` the input ends inside a value; `malformed` a value contradicts the format; `too_large` a length is over
 * the caller's limit; `unsupported` a version or kind that this build does not know; `checksum` bytes changed on the way.
 */
export type WireErrorCode = 'truncated' | 'malformed' | 'too_large' | 'unsupported' | 'checksum'

/** Thrown by readers, with the code for machines and a sentence for people. */
export class WireError extends Error {
  readonly code: WireErrorCode

  constructor(code: WireErrorCode, message: string) {
    super(message)
    this.name = 'WireError'
    this.code = code
  }
}
