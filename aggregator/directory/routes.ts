/**
 * The directories over HTTP, for each of memberships, nodes, prices and quotas:
 *
 *     GET    /v1/memberships        a list: filters, at, limit, cursor; Accept: text/csv: all of it as a file
 *     POST   /v1/memberships        one more; Content-Type: text/csv: a file, all or nothing, dry_run=true to try
 *     GET    /v1/memberships/{id}   one, with its ETag
 *     PUT    /v1/memberships/{id}   another in its place; If-Match
 *     DELETE /v1/memberships/{id}   it ends, now or `at`; If-Match
 *
 * Reading needs the right `read`, changing `manage`. A tenant sees its own entries and those of all tenants.
 */
import { createHash } from 'node:crypto'
import type { Context, MiddlewareHandler } from 'hono'
import { Hono } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Access } from '../../proto/runtime/access.ts'
import { permit } from '../../proto/runtime/access.ts'
import { FleetmeterError, messageOf } from '../../proto/runtime/errors.ts'
import { mediaType } from '../../proto/runtime/http-answers.ts'
import type { Logger } from '../../proto/runtime/log.ts'
import { TENANT_HEADER } from '../../proto/runtime/tenants.ts'
import { problem } from '../overview/problem.ts'
import type { Limiter } from '../query/limiter.ts'
import type { ChangeAnswer, Decide } from './changes.ts'
import { create, end, etagOf, replace, visible } from './changes.ts'
import { exportLines, importFile } from './csv-file.ts'
import type { DirectoryService, Repeatable } from './directory-service.ts'
import type { Asking } from './draft.ts'
import type { Directory } from './entry.ts'
import { listPage, matching, readListQuery, readTime } from './list-query.ts'
import { memberships } from './membership.ts'
import { nodes } from './node-entry.ts'
import { prices } from './price.ts'
import { quotas } from './quota.ts'
import { faulty, Refusal } from './refusal.ts'
import { jsonOf, readBody } from './request-body.ts'

export interface DirectoryRoutesOptions {
  readonly service: DirectoryService
  readonly access: Access
  readonly limiter: Limiter
  readonly log: Logger
}

type Env = { Variables: { asking: Asking; credential: string } }

export const DIRECTORIES: readonly Directory[] = [memberships, nodes, prices, quotas] as unknown as readonly Directory[]

/** Of an import; 200,000 lines of memberships are some 20 MiB. */
const FILE_BYTES_MAX = 32 * 1024 * 1024
const BODY_BYTES_MAX = 256 * 1024
const EXPORT_CHUNK_CHARACTERS = 64 * 1024
const KEY_FORM = /^[\x21-\x7e]{1,128}$/

export function directoryRoutes(options: DirectoryRoutesOptions): Hono<Env> {
  const app = new Hono<Env>()
  for (const directory of DIRECTORIES) addRoutes(app, directory, options)
  app.onError((error) => answerError(error, options.log))
  return app
}

function addRoutes(app: Hono<Env>, directory: Directory, { service, access, limiter }: DirectoryRoutesOptions): void {
  const list = `/v1/${directory.plural}`
  const one = `${list}/:id`
  const passed = [authorized(access), limited(limiter)] as const
  app.use(list, ...passed)
  app.use(one, ...passed)

  app.get(list, (c) => {
    const query = readListQuery(directory, new URL(c.req.url).searchParams)
    const table = service.snapshot.table(directory.kind)
    if (wantsCsv(c)) return csvAnswer(directory, matching(table, c.get('asking').tenant, query))
    return c.json(listPage(table, c.get('asking').tenant, query))
  })

  app.post(list, async (c) => {
    const asking = c.get('asking')
    const parameters = new URL(c.req.url).searchParams
    if (mediaType(c.req.header('content-type')).type !== 'text/csv') {
      const bytes = await readBody(c, BODY_BYTES_MAX)
      return change(c, bytes, create(directory, asking, jsonOf(c, bytes, 'application/json or text/csv')))
    }
    const bytes = await readBody(c, FILE_BYTES_MAX)
    return change(c, bytes, await importFile(directory, asking, bytes, readDryRun(parameters)))
  })

  app.get(one, (c) => {
    const record = visible(service.snapshot, directory, c.get('asking'), idOf(c))
    const etag = etagOf(record)
    if (c.req.header('if-none-match') === etag) return new Response(null, { status: 304, headers: { ETag: etag } })
    return c.json(record, 200, { ETag: etag })
  })

  app.put(one, async (c) => {
    const bytes = await readBody(c, BODY_BYTES_MAX)
    const body = jsonOf(c, bytes)
    return change(c, bytes, replace(directory, c.get('asking'), idOf(c), c.req.header('if-match'), body))
  })

  app.delete(one, async (c) => {
    const at = readTime(new URL(c.req.url).searchParams, 'at')
    return change(c, undefined, end(directory, c.get('asking'), idOf(c), c.req.header('if-match'), at))
  })

  app.all(list, (c) => notAllowed(c, 'GET, HEAD, POST'))
  app.all(one, (c) => notAllowed(c, 'GET, HEAD, PUT, DELETE'))

  async function change(c: Context<Env>, bytes: Uint8Array | undefined, decide: Decide): Promise<Response> {
    const answer: ChangeAnswer = await service.change(decide, repeatableOf(c, bytes))
    return c.json(answer.body as object, answer.status, answer.headers)
  }
}

function idOf(c: Context): string {
  return c.req.param('id') ?? '' // of routes that have it
}

function authorized(access: Access): MiddlewareHandler<Env> {
  return async (c, next) => {
    const caller = access.caller(c.req.header('authorization'))
    if (caller.kind !== 'known') throw new Refusal(401, 'UNAUTHORIZED', 'Unauthorized')
    const right = c.req.method === 'GET' || c.req.method === 'HEAD' ? 'read' : 'manage'
    const permitted = permit(caller.credential, right, c.req.header(TENANT_HEADER))
    if ('status' in permitted)
      throw new Refusal(permitted.status, permitted.status === 403 ? 'FORBIDDEN' : 'BAD_REQUEST', permitted.reason)
    c.set('credential', caller.credential.id)
    c.set('asking', { tenant: permitted.tenant, admin: caller.credential.admin })
    return next()
  }
}

function limited(limiter: Limiter): MiddlewareHandler<Env> {
  return async (c, next) => {
    const taken = limiter.take(c.get('credential'))
    if (taken.allowed) return next()
    const headers = { 'Retry-After': String(Math.max(1, Math.ceil(taken.waitMs / 1000))) }
    throw new Refusal(429, 'TOO_MANY_REQUESTS', 'Too Many Requests', { headers })
  }
}

/** The same request, asked again: by its key, and by what it says. */
function repeatableOf(c: Context<Env>, bytes: Uint8Array | undefined): Repeatable | undefined {
  const key = c.req.header('idempotency-key')
  if (key === undefined) return undefined
  if (!KEY_FORM.test(key))
    throw new Refusal(400, 'BAD_REQUEST', 'Idempotency-Key: expected 1 to 128 characters of ASCII without blanks')
  const { tenant } = c.get('asking')
  const url = new URL(c.req.url)
  const hash = createHash('sha256')
  hash.update(JSON.stringify([c.req.method, url.pathname, url.search, tenant, c.req.header('if-match') ?? null]))
  if (bytes !== undefined) hash.update(bytes)
  return { credential: c.get('credential'), key, request: hash.digest('hex') }
}

function readDryRun(parameters: URLSearchParams): boolean {
  const given = parameters.get('dry_run') ?? 'false'
  if (given === 'true' || given === 'false') return given === 'true'
  throw faulty([{ field: 'dry_run', message: 'expected true or false' }])
}

function wantsCsv(c: Context): boolean {
  return (c.req.header('accept') ?? '').split(',').some((part) => mediaType(part).type === 'text/csv')
}

/** Written as it is read. */
function csvAnswer(directory: Directory, records: Parameters<typeof exportLines>[1]): Response {
  const lines = exportLines(directory, records)[Symbol.iterator]()
  const encoder = new TextEncoder()
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      let chunk = ''
      for (let line = lines.next(); ; line = lines.next()) {
        if (line.done === true) {
          if (chunk !== '') controller.enqueue(encoder.encode(chunk))
          controller.close()
          return
        }
        chunk += line.value
        if (chunk.length >= EXPORT_CHUNK_CHARACTERS) break
      }
      controller.enqueue(encoder.encode(chunk))
    },
  })
  const headers = {
    'Content-Type': 'text/csv; charset=utf-8',
    'Content-Disposition': `attachment; filename="${directory.plural}.csv"`,
  }
  return new Response(body, { headers })
}

function notAllowed(c: Context, allow: string): Response {
  throw new Refusal(405, 'BAD_REQUEST', `${c.req.method} is not allowed on ${c.req.path}: expected ${allow}`, {
    headers: { Allow: allow },
  })
}

function answerError(error: Error, log: Logger): Response {
  if (error instanceof Refusal) {
    const { status, code, message: detail, faults, headers } = error
    const errors = faults.length === 0 ? {} : { errors: faults }
    return problem({ status, code, detail, ...errors }, new Headers(headers))
  }
  if (error instanceof FleetmeterError && (error.retryable || error.code === 'FM_STOPPED')) {
    log.warn({ error: messageOf(error) }, 'a directory cannot be changed now')
    const detail = `Directories cannot be changed at the moment: ${messageOf(error)}. Whether this was done is not known: send it again with the same Idempotency-Key`
    return problem({ status: 503, code: 'SERVICE_UNAVAILABLE', detail }, new Headers({ 'Retry-After': '1' }))
  }
  log.error({ error: messageOf(error), stack: error.stack }, 'request to a directory failed')
  return problem(
    { status: 500 satisfies ContentfulStatusCode, code: 'INTERNAL_ERROR', detail: 'Internal Error' },
    new Headers(),
  )
}
