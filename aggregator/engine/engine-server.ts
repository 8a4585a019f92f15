/**
 * The HTTP side of the embedded engine: what `@clickhouse/client` asks of a server, on a loopback port with a password.
 *
 *     GET  /ping                      "Ok."
 *     POST /?query=…&setting=…        one statement; without `query` the body is the SQL, else the body is data to insert
 *
 * Data goes over a file: the engine reads it in parallel and in any format, with no way through a JavaScript string. Settings
 * are set before the statement and set back after it: on a session they would stay. A client that leaves ends its statement.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Engine, EngineSession } from './chdb.ts'
import type { EngineConfig } from './engine.child.ts'

export interface EngineServer {
  readonly port: number
  close(): Promise<void>
}

/** Parameters of statements come in the URL; a ClickHouse server takes as much. */
const URL_BYTES_MAX = 1024 * 1024

/** Parameters of the URL that are not settings of a statement. */
const NOT_SETTINGS: ReadonlySet<string> = new Set([
  'query',
  'database',
  'default_format',
  'query_id',
  'session_id',
  'session_timeout',
  'wait_end_of_query',
  'buffer_size',
  'enable_http_compression',
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'role',
  'compress',
  'decompress',
  'user',
  'password',
])
const SQL_BYTES_MAX = 16 * 1024 * 1024
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

export async function serveEngine(engine: Engine, config: EngineConfig): Promise<EngineServer> {
  const expected = Buffer.from(`Basic ${Buffer.from(`default:${config.secret}`).toString('base64')}`)
  const server = createServer({ maxHeaderSize: URL_BYTES_MAX }, (request, response) => {
    const given = Buffer.from(request.headers.authorization ?? '')
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      fail(response, 401, 'Code: 516. DB::Exception: wrong password (AUTHENTICATION_FAILED)')
      return
    }
    if (request.url === '/ping') response.end('Ok.\n')
    else
      void execute(engine, config.spool, request, response).catch((error: unknown) =>
        answerError(response, error, config.directory),
      )
  })
  server.keepAliveTimeout = 60_000
  server.requestTimeout = 0
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(config.port, '127.0.0.1', resolve)
  })
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function execute(
  engine: Engine,
  spool: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { searchParams } = new URL(request.url ?? '/', 'http://engine')
  const query = searchParams.get('query')
  const comment = `fleetmeter-${randomBytes(8).toString('hex')}`
  const file = join(spool, `${comment}.body`)
  let done = false
  response.on('close', () => {
    if (!done) void engine.kill(comment).catch(() => {})
  })
  try {
    const sql = query === null ? await readText(request) : await readStatement(query, request, file)
    await engine.withSession(async (session) => {
      if (response.destroyed) return
      const settings = await applySettings(session, searchParams, comment)
      try {
        await run(session, sql, searchParams.get('default_format') ?? 'TabSeparated', response)
      } finally {
        await resetSettings(session, settings)
      }
    })
  } finally {
    done = true
    if (query !== null) await rm(file, { force: true })
  }
}

/** The statement to execute; data that comes with it is put into the file. */
async function readStatement(query: string, request: IncomingMessage, file: string): Promise<string> {
  const insert = insertOf(query)
  if (insert === undefined) {
    request.resume()
    return query
  }
  await pipeline(request, createWriteStream(file))
  return insert(file)
}

/**
 * `INSERT INTO t (a, b) FORMAT Native` with the data in the body: how to insert from a file instead. Native is read by the
 * table function, which is parallel; text formats by INFILE.
 */
function insertOf(sql: string): ((file: string) => string) | undefined {
  const match = /^\s*(INSERT\s+INTO\s+\S+(?:\s*\([^)]*\))?)\s+FORMAT\s+(\w+)\s*;?\s*$/i.exec(sql)
  if (match === null) return undefined
  const [, target = '', format = ''] = match
  if (format.toLowerCase() === 'native') return (file) => `${target} SELECT * FROM file('${file}', 'Native')`
  return (file) => `${target} FROM INFILE '${file}' FORMAT ${format}`
}

async function run(session: EngineSession, sql: string, format: string, response: ServerResponse): Promise<void> {
  if (!/^\s*(?:SELECT|WITH|SHOW|DESCRIBE|EXISTS|EXPLAIN)\b/i.test(sql)) {
    const result = await session.queryAsync(sql, { format })
    response.writeHead(200, { 'Content-Type': 'application/octet-stream' }).end(result.bytes())
    return
  }
  const stream = session.queryStream(sql, { format })
  for await (const chunk of stream) {
    if (response.destroyed) {
      stream.cancel()
      return
    }
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': 'application/octet-stream' })
    if (!response.write(Buffer.from(chunk.raw()))) await drained(response)
  }
  response.end()
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      response.off('drain', go).off('close', go)
      resolve()
    }
    response.on('drain', go).on('close', go)
  })
}

async function applySettings(session: EngineSession, parameters: URLSearchParams, comment: string): Promise<string[]> {
  const names: string[] = []
  const database = parameters.get('database')
  if (database !== null && NAME.test(database) && database !== 'default') await session.queryAsync(`USE ${database}`)
  const wanted: [string, string][] = [...parameters].filter(([name]) => !NOT_SETTINGS.has(name) && NAME.test(name))
  for (const [name, value] of [...wanted, ['log_comment', comment] as const]) {
    await session.queryAsync(`SET ${name} = '${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`)
    names.push(name)
  }
  return names
}

async function resetSettings(session: EngineSession, names: readonly string[]): Promise<void> {
  for (const name of names) if (!name.startsWith('param_')) await session.queryAsync(`SET ${name} = DEFAULT`)
}

function answerError(response: ServerResponse, error: unknown, directory: string): void {
  // A body may not have been read to its end: whoever still writes it must not wait for us to go on.
  if (!response.headersSent) response.setHeader('Connection', 'close')
  const text = withRemedy(error instanceof Error ? error.message : String(error), directory)
  if (response.headersSent) response.destroy()
  else fail(response, 500, text)
}

/** What a person does about it, by the words of the engine or of the system: not every one of its errors has a code. */
const REMEDIES: readonly (readonly [words: RegExp, remedy: string])[] = [
  [/ENOSPC|EDQUOT|No space left|NOT_ENOUGH_SPACE/, 'the disk is full: free space on it'],
  [
    /EROFS|Read-only file system/,
    'the file system is mounted read-only: see in the log of the kernel why, and mount it read-write',
  ],
  [/EMFILE|Too many open files/, 'the engine has as many files open as it may: raise the limit of open files'],
  [
    /MEMORY_LIMIT_EXCEEDED|CANNOT_ALLOCATE_MEMORY/,
    'the engine has no memory left: aggregator.engine_memory_bytes allows more',
  ],
]

/** In front of the error's type, which stands last in brackets: clients cut off what is behind it. */
function withRemedy(said: string, directory: string): string {
  const remedy = REMEDIES.find(([words]) => words.test(said))?.[1]
  if (remedy === undefined) return said
  const type = said.search(/\((?=[A-Z0-9_]*[A-Z]{3})[A-Z0-9_]+\)/)
  const end = type < 0 ? said.length : type
  const cause = said.slice(0, end).trim().replace(/\.$/, '')
  return `${cause}; ${remedy} (the engine is in "${directory}"). No restart is needed ${said.slice(end)}`.trim()
}

/** As a server does it: the code in a header, the sentence in the body; the client parses both. */
function fail(response: ServerResponse, status: number, text: string): void {
  const code = /Code: (\d+)\./.exec(text)?.[1]
  response
    .writeHead(status, {
      'Content-Type': 'text/plain; charset=UTF-8',
      ...(code === undefined ? {} : { 'X-ClickHouse-Exception-Code': code }),
    })
    .end(text)
}

async function readText(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > SQL_BYTES_MAX) throw new Error('Code: 62. DB::Exception: Max query size exceeded (SYNTAX_ERROR)')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
