/** The embedded engine behind HTTP, asked by the unmodified client: everything that a server would answer alike. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import type { ClickHouseClient } from '@clickhouse/client'
import { ClickHouseLogLevel, createClient } from '@clickhouse/client'
import type { EngineEndpoint } from '../../../aggregator/engine/engine-process.ts'
import { EngineProcess } from '../../../aggregator/engine/engine-process.ts'
import { bytesOf, nativeBlock, stringColumn, stringListColumn } from '../../../aggregator/store/native.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually } from '../../support/programs.ts'

let directory: string
let engine: EngineProcess
let endpoint: EngineEndpoint
let client: ClickHouseClient

before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'fleetmeter-'))
  engine = new EngineProcess(
    {
      directory: join(directory, 'data'),
      spool: join(directory, 'spool'),
      memoryBytesMax: 1 << 30,
      env: process.env,
      log: silentLogger,
    },
    (e) => {
      endpoint = e
    },
  )
  await engine.start()
  client = createClient({ url: endpoint.url, password: endpoint.password, log: { level: ClickHouseLogLevel.OFF } })
  await client.command({ query: 'CREATE DATABASE app' })
})
after(async () => {
  await client.close()
  await engine.stop(AbortSignal.timeout(5000))
  rmSync(directory, { recursive: true, force: true })
})

async function rows(query: string, params: Record<string, unknown> = {}): Promise<unknown[]> {
  return (await client.query({ query, format: 'JSONEachRow', query_params: params })).json()
}

test('the client pings, and a wrong password is refused', async () => {
  assert.deepEqual(await client.ping(), { success: true })
  for (const headers of [{}, { Authorization: `Basic ${Buffer.from('default:wrong').toString('base64')}` }]) {
    const response = await fetch(endpoint.url, { method: 'POST', body: 'SELECT 1', headers })
    assert.equal(response.status, 401)
    assert.match(await response.text(), /AUTHENTICATION_FAILED/)
  }
})

test('parameters arrive exactly, whatever they hold', async () => {
  for (const text of ["it's", 'back\\slash', '\t\n\r', '"', '{x:UInt8}', '; DROP', '日本 \u{1f600}', "\\'", '%', '']) {
    assert.deepEqual(await rows('SELECT {text:String} AS t', { text }), [{ t: text }])
  }
  assert.deepEqual(await rows('SELECT {list:Array(String)} AS l', { list: ["a'b", 'c\\'] }), [{ l: ["a'b", 'c\\'] }])
})

test('errors keep their code and type', async () => {
  await assert.rejects(rows('SELECT nonsense'), { code: '47', type: 'UNKNOWN_IDENTIFIER' })
  await assert.rejects(rows('SELECT {x:UInt8}', { x: 'abc' }), { code: '457' })
  await assert.rejects(client.command({ query: 'CREATE TABEL x' }), { code: '62' })
})

test('a setting holds for its statement and no longer', async () => {
  await assert.rejects(
    client
      .query({
        query: 'SELECT sum(number) FROM numbers(1000000000)',
        clickhouse_settings: { max_execution_time: 1, max_rows_to_read: '1000' },
      })
      .then((r) => r.text()),
    { code: '158' },
  )
  for (let i = 0; i < 12; i++) assert.equal((await rows('SELECT sum(number) AS s FROM numbers(100000)')).length, 1)
})

test('a client that leaves ends its statement', async () => {
  const abort = new AbortController()
  const running = client.query({
    query: 'SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))',
    abort_signal: abort.signal,
  })
  setTimeout(() => abort.abort(), 200)
  await assert.rejects(running)
  await eventually(
    'no statement is left',
    async () =>
      (await rows(`SELECT query FROM system.processes WHERE query LIKE '%sipHash64%' AND query NOT LIKE '%processes%'`))
        .length === 0,
  )
})

test('Native blocks arrive as they were encoded, and leave nothing in the spool', async () => {
  await client.command({
    query:
      'CREATE TABLE app.t (s LowCardinality(String), id UInt128, l Array(LowCardinality(String)), v Int64) ENGINE = MergeTree ORDER BY id',
  })
  const ids = new Uint8Array(32)
  ids[0] = 7
  ids[31] = 0x80
  const block = nativeBlock(2, [
    { name: 's', type: 'String', data: stringColumn(["it's", '日本']) },
    { name: 'id', type: 'UInt128', data: ids },
    { name: 'l', type: 'Array(String)', data: stringListColumn([['a', 'b'], []]) },
    { name: 'v', type: 'Int64', data: bytesOf(BigInt64Array.of(-5n, 2n ** 60n)) },
  ])
  const { stream } = await client.exec({
    query: 'INSERT INTO app.t (s, id, l, v) FORMAT Native',
    values: Readable.from(block, { objectMode: false }),
  })
  stream.resume()
  assert.deepEqual(await rows('SELECT s, toString(id) AS id, l, toString(v) AS v FROM app.t'), [
    { s: "it's", id: '7', l: ['a', 'b'], v: '-5' },
    { s: '日本', id: (128n << 120n).toString(), l: [], v: (2n ** 60n).toString() },
  ])
  // The file goes after the answer.
  await eventually('an empty spool', () => readdirSync(join(directory, 'spool')).length === 0)
})

test('an insert that breaks off leaves nothing in the spool', async () => {
  const { hostname, port } = new URL(endpoint.url)
  const authorization = `Basic ${Buffer.from(`default:${endpoint.password}`).toString('base64')}`
  const socket = connect(Number(port), hostname)
  socket.write(
    `POST /?query=${encodeURIComponent('INSERT INTO app.nothing (a) FORMAT Native')} HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(5000)}`,
  )
  await eventually('it has begun', () => readdirSync(join(directory, 'spool')).length === 1)
  socket.destroy()
  await eventually('it is gone', () => readdirSync(join(directory, 'spool')).length === 0)
})

test('an engine that does not answer says so, is replaced, and the next one answers', { timeout: 60_000 }, async () => {
  const { restarts, pid } = engine
  process.kill(pid!, 'SIGSTOP')
  await eventually('it is noticed', () => !engine.health().ready)
  await eventually('it is replaced', () => engine.restarts > restarts && engine.health().ready, 40_000)
  assert.deepEqual(await rows('SELECT 1 AS one'), [{ one: 1 }])
})

test('text formats insert too, and a row that does not fit refuses the whole insert', async () => {
  await client.command({ query: 'CREATE TABLE app.j (a UInt32, b String) ENGINE = MergeTree ORDER BY a' })
  await client.insert({ table: 'app.j', values: [{ a: 1, b: "x'\n" }], format: 'JSONEachRow' })
  await assert.rejects(
    client.insert({
      table: 'app.j',
      values: [
        { a: 2, b: 'ok' },
        { a: 'no', b: '' },
      ],
      format: 'JSONEachRow',
    }),
    { code: '27' },
  )
  assert.deepEqual(await rows('SELECT a, b FROM app.j'), [{ a: 1, b: "x'\n" }])
  await eventually('an empty spool', () => readdirSync(join(directory, 'spool')).length === 0)
})

test('a large result comes in pieces', async () => {
  const result = await client.query({ query: 'SELECT number FROM numbers(1000000)', format: 'JSONEachRow' })
  let pieces = 0
  let n = 0
  for await (const piece of result.stream()) {
    pieces++
    n += piece.length
  }
  assert.equal(n, 1_000_000)
  assert.ok(pieces > 1)
})

test('the engine is started again when it is killed, with everything that was acknowledged', async () => {
  await client.command({
    query: 'CREATE TABLE IF NOT EXISTS app.k (a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1',
  })
  await client.command({ query: 'INSERT INTO app.k SELECT number FROM numbers(1000)' })
  const pid = engine.pid!
  process.kill(pid, 'SIGKILL')
  await eventually('it is back', () => engine.health().ready && engine.pid !== pid)
  assert.deepEqual(await rows('SELECT toString(count()) AS n FROM app.k'), [{ n: '1000' }])
})
