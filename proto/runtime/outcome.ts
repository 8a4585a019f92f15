/**
 * What became of something that a peer asked for.
 *
 * `ok` it is done; `reject` it is the peer's fault and will not work the next time either; `retry` it is ours, and the same
 * request again is right. A door turns each into its protocol's status; a counter takes the code as its label.
 */
export type Outcome<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'reject'; readonly code: RejectCode; readonly reason: string }
  | { readonly kind: 'retry'; readonly code: RetryCode; readonly reason: string }

export type RejectCode = 'undecodable' | 'unsupported' | 'too_large' | 'invalid'
export type RetryCode = 'busy' | 'disk_full' | 'disk_error' | 'stopping' | 'unavailable'

export const ok = <T>(value: T): Outcome<T> => ({ kind: 'ok', value })
export const reject = (code: RejectCode, reason: string): Outcome<never> => ({ kind: 'reject', code, reason })
export const retry = (code: RetryCode, reason: string): Outcome<never> => ({ kind: 'retry', code, reason })
