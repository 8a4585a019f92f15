/** Who asks: the token and tenant, kept by this browser tab or, if wished, by this device; and asking with them. */

export interface Credentials {
  readonly token: string
  /** Value of X-Scope-OrgID; '': the token's own. */
  readonly tenant: string
}

const KEY = 'fleetmeter.credentials'
/** Behind the `#` of the link that `npm start` prints: what stands there is sent to no server. */
const LINK = /^#token=(.+)$/

/** '' where it was not encoded. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return ''
  }
}

export function loadCredentials(): Credentials | undefined {
  const linked = LINK.exec(location.hash)?.[1]
  if (linked !== undefined) {
    const token = decoded(linked)
    // For this tab: whoever is signed in on this device stays so.
    if (token !== '') sessionStorage.setItem(KEY, JSON.stringify({ token, tenant: '' }))
    // Neither to be shared with the address nor kept in the browser's history.
    history.replaceState(null, '', location.pathname + location.search)
  }
  for (const storage of [sessionStorage, localStorage]) {
    const text = storage.getItem(KEY)
    if (text === null) continue
    try {
      const { token, tenant } = JSON.parse(text) as Partial<Credentials>
      if (typeof token === 'string' && token !== '') return { token, tenant: typeof tenant === 'string' ? tenant : '' }
    } catch {
      storage.removeItem(KEY) // not ours, or of another version
    }
  }
  return undefined
}

/** @param onDevice until it is forgotten; else until the tab is closed */
export function keepCredentials(credentials: Credentials, onDevice: boolean): void {
  forgetCredentials()
  const storage = onDevice ? localStorage : sessionStorage
  storage.setItem(KEY, JSON.stringify(credentials))
}

export function forgetCredentials(): void {
  sessionStorage.removeItem(KEY)
  localStorage.removeItem(KEY)
}

export function isKeptOnDevice(): boolean {
  return localStorage.getItem(KEY) !== null
}

/** Why there is no answer. `unauthorized`: the token; `forbidden`: what it may do; `away`: no connection, or "later". */
export type FailureKind = 'unauthorized' | 'forbidden' | 'away' | 'refused'

export class Failure extends Error {
  readonly kind: FailureKind
  /** When asking again is worth it, ms; undefined: as usual. */
  readonly retryAfterMs: number | undefined

  constructor(kind: FailureKind, message: string, retryAfterMs?: number) {
    super(message)
    this.kind = kind
    this.retryAfterMs = retryAfterMs
  }
}

const TIMEOUT_MS = 20_000

/**
 * Asks this server.
 * @param path relative to the page, so that it works below another path too
 * @throws Failure when the answer is none
 */
export async function ask<T>(
  credentials: Credentials,
  path: string,
  parameters: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Promise<T> {
  const url = new URL(path, document.baseURI)
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value)
  const timeout = AbortSignal.timeout(TIMEOUT_MS)
  let response: Response
  try {
    response = await fetch(url, {
      headers: {
        Authorization: `Bearer ${credentials.token}`,
        ...(credentials.tenant === '' ? {} : { 'X-Scope-OrgID': credentials.tenant }),
      },
      cache: 'no-store',
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    })
    if (response.ok) return (await response.json()) as T
  } catch (error) {
    if (signal?.aborted === true) throw error
    throw new Failure('away', timeout.aborted ? 'It does not answer.' : 'It cannot be reached.')
  }
  throw await failureOf(response)
}

async function failureOf(response: Response): Promise<Failure> {
  const body = (await response.json().catch(() => ({}))) as { detail?: string; message?: string }
  const said = body.detail ?? body.message ?? `${response.status} ${response.statusText}`
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  const retryAfterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined
  if (response.status === 401) return new Failure('unauthorized', said)
  if (response.status === 403) return new Failure('forbidden', said)
  if (response.status === 429 || response.status >= 500) return new Failure('away', said, retryAfterMs)
  return new Failure('refused', said)
}
