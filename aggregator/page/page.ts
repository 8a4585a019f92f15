/**
 * The first page: `GET /` and its three files, from memory. Works offline: nothing comes from elsewhere, and the policy that goes
 * with it forbids that.
 *
 *     /               the document; asked again each time, 304 where it is the same
 *     /page/NAME-HASH script, style, icon: a name for each content, so that they are kept for good
 *
 * The page itself holds nothing of anybody: what it shows it asks for with its user's token.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, gzip } from 'node:zlib'
import { sendError } from '../../proto/runtime/http-answers.ts'

/** Nothing but this server's own files, and no text that becomes code: what samples' labels say is shown and never run. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': POLICY,
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
}

/** What the document refers to, as the build names it. */
const FILES: readonly (readonly [file: string, contentType: string])[] = [
  ['main.js', 'text/javascript; charset=utf-8'],
  ['main.css', 'text/css; charset=utf-8'],
  ['icon.svg', 'image/svg+xml'],
]

type Encoding = 'br' | 'gzip' | 'identity'

interface Asset {
  readonly contentType: string
  readonly etag: string
  readonly cacheControl: string
  readonly bodies: Readonly<Record<Encoding, Buffer>>
}

export class Page {
  readonly #assets: ReadonlyMap<string, Asset>

  private constructor(assets: ReadonlyMap<string, Asset>) {
    this.#assets = assets
  }

  /** Reads and compresses the files. Where they were not built the page is missing, and everything else works. */
  static async load(directory: string | undefined = builtFiles()): Promise<Page> {
    const assets = new Map<string, Asset>()
    if (directory === undefined) return new Page(assets)
    let document = readFileSync(join(directory, 'page.html'), 'utf8')
    for (const [file, contentType] of FILES) {
      const body = readFileSync(join(directory, file))
      const name = `page/${file.replace('.', `-${hashOf(body)}.`)}`
      document = document.replaceAll(`"${file}"`, `"${name}"`)
      assets.set(`/${name}`, await assetOf(body, contentType, 'public, max-age=31536000, immutable'))
    }
    assets.set('/', await assetOf(Buffer.from(document), 'text/html; charset=utf-8', 'no-cache'))
    return new Page(assets)
  }

  /** Whether a request is the page's: `POST /` is somebody else's. */
  serves(method: string | undefined, path: string): boolean {
    return path.startsWith('/page/') || (path === '/' && (method === 'GET' || method === 'HEAD'))
  }

  handle(path: string, request: IncomingMessage, response: ServerResponse): void {
    request.resume()
    const asset = this.#assets.get(path)
    if (asset === undefined) {
      const built = this.#assets.size > 0 ? '' : ': the page is not built, run npm run build'
      sendError(response, 404, 'NOT_FOUND', `There is nothing at ${path}${built}`)
    } else if (request.method !== 'GET' && request.method !== 'HEAD')
      sendError(response, 405, 'BAD_REQUEST', `${request.method} is not allowed on ${path}: expected GET`, {
        Allow: 'GET, HEAD',
      })
    else send(asset, request, response)
  }
}

function send(asset: Asset, request: IncomingMessage, response: ServerResponse): void {
  const encoding = encodingFor(request.headers['accept-encoding'])
  const body = asset.bodies[encoding]
  // One tag for each form, as RFC 9110 asks.
  const etag = `"${asset.etag}-${encoding}"`
  const headers = { ...HEADERS, ETag: etag, 'Cache-Control': asset.cacheControl, Vary: 'Accept-Encoding' }
  if (matches(request.headers['if-none-match'], etag)) {
    response.writeHead(304, headers).end()
    return
  }
  response.writeHead(200, {
    ...headers,
    'Content-Type': asset.contentType,
    'Content-Length': body.length,
    ...(encoding === 'identity' ? {} : { 'Content-Encoding': encoding }),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** The smallest form that the client takes. */
function encodingFor(accepted = ''): Encoding {
  const taken = new Set(
    accepted
      .toLowerCase()
      .split(',')
      .map((part) => part.trim().split(/\s*;\s*/))
      .filter(([, quality]) => quality === undefined || !/^q=0(\.0*)?$/.test(quality))
      .map(([coding]) => coding),
  )
  if (taken.has('br')) return 'br'
  return taken.has('gzip') ? 'gzip' : 'identity'
}

function matches(header: string | undefined, etag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag)
}

async function assetOf(body: Buffer, contentType: string, cacheControl: string): Promise<Asset> {
  const [br, zipped] = await Promise.all([promisify(brotliCompress)(body), promisify(gzip)(body)])
  return { contentType, etag: hashOf(body), cacheControl, bodies: { br, gzip: zipped, identity: body } }
}

function hashOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('base64url').slice(0, 12)
}

/** Beside this file in the build; in the build's folder when this runs from source. */
function builtFiles(): string | undefined {
  return ['./files', '../../dist/aggregator/page/files']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(join(path, 'page.html')))
}
