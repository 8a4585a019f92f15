/** What requests are answered with, and what their heads say. */
import type { IncomingMessage, ServerResponse } from 'node:http'

/** The codes of xtrace's contract, and ours for what it has no word for; what clients switch on after the status. */
export type ApiCode =
  | 'UNAUTHORIZED'
  | 'FORBIDDEN'
  | 'BAD_REQUEST'
  | 'NOT_FOUND'
  | 'TOO_MANY_REQUESTS'
  | 'SERVICE_UNAVAILABLE'
  | 'INTERNAL_ERROR'
  | 'CONFLICT'
  | 'PRECONDITION_FAILED'
  | 'PRECONDITION_REQUIRED'
  | 'IDEMPOTENCY_KEY_REUSED'
  | 'QUOTA_EXCEEDED'
  | 'NOT_OWNER'

export type Headers = Readonly<Record<string, string>>

export function sendJson(response: ServerResponse, status: number, body: unknown, headers: Headers = {}): void {
  const text = JSON.stringify(body)
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
    ...headers,
  })
  response.end(text)
}

export function sendError(
  response: ServerResponse,
  status: number,
  code: ApiCode,
  message: string,
  headers: Headers = {},
): void {
  sendJson(response, status, { message, code }, headers)
}

/** The path without the query string. */
export function pathOf(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

const JSON_TYPE: ReturnType<typeof mediaType> = { type: 'application/json', parameters: [] }

/** The media type without parameters, lower case, and its parameters as text. */
export function mediaType(header: string | undefined): { type: string; parameters: readonly string[] } {
  if (header === 'application/json') return JSON_TYPE // so usual that it need not be taken apart
  const [type = '', ...parameters] = (header ?? '').split(';').map((part) => part.trim())
  return { type: type.toLowerCase(), parameters }
}
