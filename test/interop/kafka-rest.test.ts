/**
 * Golden exchanges of Kafka REST and of `POST /v1/events`, replayed by curl and by Python's requests and httpx: what producers of the
 * seed do with `KAFKA_PROXY_URL` pointed at a collector.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { EventSink } from '../support/event-sink.ts'
import { startEventSink } from '../support/event-sink.ts'
import { hasPeer } from '../support/peers.ts'
import type { Running } from '../support/programs.ts'
import { eventually, kill, scrape, start, temporaryDirectory, total } from '../support/programs.ts'
import { pythonWith } from '../support/python.ts'
import { seedEvents } from '../support/seed-events.ts'

const CLIENT = fileURLToPath(new URL('./kafka-rest/client.py', import.meta.url))
const REQUIREMENTS = fileURLToPath(new URL('./kafka-rest/requirements.txt', import.meta.url))
const JSON_V2 = 'application/vnd.kafka.json.v2+json'
const ANSWER_V2 = 'application/vnd.kafka.v2+json'
const RECORDS_V3 = '/v3/clusters/fleetmeter/topics/asset_access/records'

interface Exchange {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** A list: sent in chunks. */
  readonly body?: string | readonly string[]
  readonly status: number
  readonly type?: string
  /** Throws where the body is not as expected. */
  readonly check?: (body: never) => void
}

interface Answer {
  readonly status: number
  readonly type: string
  readonly text: string
}

type Replay = (url: string, exchanges: readonly Exchange[]) => Promise<Answer[]>

const events = (salt: number): Record<string, unknown>[] => seedEvents(salt).map(([, event]) => event)
const records = (values: readonly unknown[], more: object = {}): string =>
  JSON.stringify({ records: values.map((value) => ({ value, ...more })) })
const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')
const v2 = (
  path: string,
  body: string,
  type: string = JSON_V2,
): Pick<Exchange, 'method' | 'path' | 'headers' | 'body'> => ({
  method: 'POST',
  path,
  headers: { 'Content-Type': type },
  body,
})
const get = (path: string, headers: Record<string, string> = {}): Pick<Exchange, 'method' | 'path' | 'headers'> => ({
  method: 'GET',
  path,
  headers,
})

interface Offsets {
  readonly offsets: readonly { partition: number; offset: number; error_code: null; error: null }[]
}

function allTaken(count: number): (body: Offsets) => void {
  return ({ offsets }) => {
    assert.equal(offsets.length, count)
    for (const [i, { partition, offset, error_code, error }] of offsets.entries()) {
      assert.deepEqual([partition, error_code, error], [0, null, null])
      assert.ok(Number.isInteger(offset) && offset >= 0)
      if (i > 0) assert.ok(offset > offsets[i - 1]!.offset, 'offsets rise')
    }
  }
}

const failed = (code: number) => (body: { error_code: number; message: string }) => {
  assert.equal(body.error_code, code)
  assert.ok(body.message.length > 10)
}

/** @param salt makes ids that no other run of them has */
function exchanges(salt: number): Exchange[] {
  const one = (n: number): Record<string, unknown> => events(100 * salt + n)[15]!
  return [
    {
      name: 'M1 every event of the seed',
      ...v2('/topics/xumi_task', records(events(100 * salt))),
      status: 200,
      type: ANSWER_V2,
      check: allTaken(26),
    },
    {
      name: 'M1 application/json with a charset',
      ...v2('/topics/xumi_task', records([one(1)]), 'Application/JSON; charset=utf-8'),
      status: 200,
      type: ANSWER_V2,
      check: allTaken(1),
    },
    {
      name: 'M1 500 records',
      ...v2('/topics/xumi_task', records(Array.from({ length: 500 }, (_, n) => one(1000 + n)))),
      status: 200,
      check: allTaken(500),
    },
    {
      name: 'M3 a topic that is not there',
      ...v2('/topics/other', records([one(2)])),
      status: 404,
      type: ANSWER_V2,
      check: failed(40401),
    },
    { name: 'M3 no records', ...v2('/topics/xumi_task', '{"records":[]}'), status: 422, check: failed(422) },
    { name: 'M3 records missing', ...v2('/topics/xumi_task', '{}'), status: 422, check: failed(422) },
    { name: 'M3 not JSON', ...v2('/topics/xumi_task', '{"records":[{"value":'), status: 400, check: failed(400) },
    {
      name: 'M3, F7 avro',
      ...v2('/topics/xumi_task', '{}', 'application/vnd.kafka.avro.v2+json'),
      status: 415,
      check: failed(415),
    },
    {
      name: 'M5 one that is no event among others',
      ...v2('/topics/xumi_task', records([one(3), { what: salt }, one(4)])),
      status: 200,
      check: allTaken(3),
    },
    {
      name: 'M6 topics',
      ...get('/topics', { Accept: `${ANSWER_V2}, application/json` }),
      status: 200,
      type: ANSWER_V2,
      check: (body: string[]) => assert.ok(body.includes('xumi_task')),
    },
    {
      name: 'M6 a topic',
      ...get('/topics/xumi_task'),
      status: 200,
      check: (body: { name: string }) => assert.equal(body.name, 'xumi_task'),
    },
    { name: 'M6 a topic that is not there', ...get('/topics/x'), status: 404, check: failed(40401) },
    {
      name: 'M6 root',
      ...get('/', { Accept: ANSWER_V2 }),
      status: 200,
      check: (body: object) => assert.deepEqual(body, {}),
    },
    {
      name: 'M6 gzip',
      ...v2('/topics/xumi_task', records([one(5)])),
      headers: { 'Content-Type': JSON_V2, 'Content-Encoding': 'gzip' },
      status: 200,
      check: allTaken(1),
    },
    {
      name: 'M6 chunked, and Expect',
      ...v2('/topics/xumi_task', ''),
      body: ['{"records":[{"value":', JSON.stringify(one(6)), '}]}'],
      headers: { 'Content-Type': JSON_V2, Expect: '100-continue' },
      status: 200,
      check: allTaken(1),
    },
    { name: 'M7 two slashes', ...v2('//topics/xumi_task', records([one(7)])), status: 200, check: allTaken(1) },
    { name: 'M7 a base path', ...v2('/kafka/topics/xumi_task', records([one(8)])), status: 200, check: allTaken(1) },
    { name: 'M7 root of it', ...get('/kafka/'), status: 200, check: (body: object) => assert.deepEqual(body, {}) },
    {
      name: 'F1 a partition',
      ...v2('/topics/xumi_task/partitions/0', records([one(9)], { key: { a: 1 } })),
      status: 200,
      check: allTaken(1),
    },
    {
      name: 'F1 a partition that is none',
      ...v2('/topics/xumi_task/partitions/-1', records([one(10)])),
      status: 404,
      check: failed(40402),
    },
    {
      name: 'F1 binary',
      ...v2('/topics/xumi_task', records([base64(one(11))], { key: 'AP8=' }), 'application/vnd.kafka.binary.v2+json'),
      status: 200,
      check: allTaken(1),
    },
    {
      name: 'F1 binary that is no base64',
      ...v2('/topics/xumi_task', records([`!${salt}`]), 'application/vnd.kafka.binary.v2+json'),
      status: 200,
      check: allTaken(1),
    },
    {
      name: 'F1 text',
      ...v2('/topics/xumi_task', records([JSON.stringify(one(12))]), 'application/vnd.kafka.text.v2+json'),
      status: 200,
      check: allTaken(1),
    },
    {
      name: 'F1 a tombstone',
      ...v2('/topics/kubernetes', '{"records":[{"key":"k"}]}'),
      status: 200,
      check: (body: Offsets) => assert.equal(body.offsets.length, 1),
    },
    {
      name: 'F2 headers and a timestamp',
      ...v2(
        '/topics/xumi_task',
        records([one(13)], { timestamp: 1769860800000, headers: [{ key: 'k', value: 'dg==' }] }),
      ),
      status: 200,
      check: allTaken(1),
    },
    { name: 'F2 async', ...v2('/topics/xumi_task?async=true', records([one(14)])), status: 204 },
    {
      name: 'F5 clusters',
      ...get('/v3/clusters'),
      status: 200,
      check: (body: { data: { cluster_id: string }[] }) => assert.equal(body.data[0]?.cluster_id, 'fleetmeter'),
    },
    {
      name: 'F5 a record',
      ...v2(RECORDS_V3, JSON.stringify({ value: { type: 'JSON', data: one(15) } }), 'application/json'),
      status: 200,
      type: 'application/json',
      check: (body: { error_code: number; offset: number }) =>
        assert.deepEqual([body.error_code, body.offset >= 0], [200, true]),
    },
    {
      name: 'F5 a schema',
      ...v2(RECORDS_V3, '{"value":{"type":"AVRO","schema_id":1,"data":{}}}', 'application/json'),
      status: 200,
      check: failed(42205),
    },
    {
      name: 'F5 a batch',
      ...v2(
        `${RECORDS_V3}:batch`,
        JSON.stringify({
          entries: [
            { id: 'a', value: { type: 'JSON', data: one(16) } },
            { id: 'b', value: { type: 'PROTOBUF', data: '' } },
          ],
        }),
        'application/json',
      ),
      status: 207,
      check: (body: { successes: { id: string }[]; failures: { id: string; error_code: number }[] }) => {
        assert.deepEqual(
          body.successes.map(({ id }) => id),
          ['a'],
        )
        assert.deepEqual(
          body.failures.map(({ id, error_code }) => [id, error_code]),
          [['b', 42205]],
        )
      },
    },
    {
      name: 'F5 a batch with an id twice',
      ...v2(`${RECORDS_V3}:batch`, '{"entries":[{"id":"a"},{"id":"a"}]}', 'application/json'),
      status: 422,
      check: failed(42208),
    },
    {
      name: 'F6 a wrong token',
      ...v2('/topics/xumi_task', records([one(17)])),
      headers: { 'Content-Type': JSON_V2, Authorization: 'Bearer wrong' },
      status: 401,
      type: ANSWER_V2,
      check: failed(40101),
    },
    { name: 'F8 healthy', ...get('/healthy'), status: 200 },
    { name: 'F8 ready', ...get('/ready'), status: 200 },
    {
      name: 'events: accepted, duplicate and refused beside each other',
      ...v2('/v1/events', JSON.stringify([one(18), one(18), { ...one(19), result: 'perhaps' }]), 'application/json'),
      status: 207,
      check: (body: { events: { status: string; errors?: { field: string }[] }[] }) => {
        assert.deepEqual(
          body.events.map(({ status }) => status),
          ['accepted', 'duplicate', 'refused'],
        )
        assert.equal(body.events[2]?.errors?.[0]?.field, 'result')
      },
    },
    { name: 'events: one', ...v2('/v1/events', JSON.stringify(one(20)), 'application/json'), status: 200 },
    {
      name: 'events: lines',
      ...v2('/v1/events', `${JSON.stringify(one(21))}\n\n${JSON.stringify(one(22))}\n`, 'application/x-ndjson'),
      status: 200,
      check: (body: { accepted: number }) => assert.equal(body.accepted, 2),
    },
    {
      name: 'events: none can be taken',
      ...v2('/v1/events', '{"event_type":"no"}', 'application/json'),
      status: 422,
      type: 'application/problem+json',
      check: (body: { status: number; code: string }) =>
        assert.deepEqual([body.status, body.code], [422, 'BAD_REQUEST']),
    },
    {
      name: 'events: not JSON',
      ...v2('/v1/events', '{', 'application/json'),
      status: 400,
      type: 'application/problem+json',
    },
    {
      name: 'events: another type',
      ...v2('/v1/events', 'a', 'text/plain'),
      status: 415,
      type: 'application/problem+json',
    },
    {
      name: 'events: a CloudEvent',
      ...v2('/v1/events', cloudEvent(salt, 1), 'application/cloudevents+json; charset=utf-8'),
      status: 200,
    },
    {
      name: 'events: CloudEvents in a batch',
      ...v2('/v1/events', `[${cloudEvent(salt, 2)}]`, 'application/cloudevents-batch+json'),
      status: 200,
    },
    {
      name: 'events: a CloudEvent in binary mode',
      method: 'POST',
      path: '/v1/events',
      headers: {
        'Content-Type': 'application/json',
        'ce-specversion': '1.0',
        'ce-id': `binary ${salt}`,
        'ce-source': '/test',
        'ce-type': 'new.thing.done',
        'ce-time': '2026-01-31T12:00:00Z',
      },
      body: '{"a":1}',
      status: 200,
    },
  ] as Exchange[]
}

/** What of them is kept: see the names. */
const EVENTS_KEPT = 26 + 500 + 14 + 4 + 3
const LETTERS_KEPT = 3

function cloudEvent(salt: number, n: number): string {
  const time = '2026-01-31T12:00:00Z'
  return JSON.stringify({
    specversion: '1.0',
    id: `${salt}-${n}`,
    source: '/test',
    type: 'new.thing.done',
    time,
    data: { a: n },
  })
}

async function started(t: TestContext): Promise<{ collector: Running; sink: EventSink }> {
  const sink = await startEventSink(t)
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: sink.url,
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
    FLEETMETER_COLLECTOR_EVENTS_BASE_PATH: '/kafka/',
  })
  t.after(() => kill(collector))
  return { collector, sink }
}

async function goldenExchanges(t: TestContext, replay: Replay, salt: number): Promise<void> {
  const { collector, sink } = await started(t)
  const all = exchanges(salt)
  const answers = await replay(collector.url, all)
  for (const [i, { name, status, type, check }] of all.entries()) {
    const answer = answers[i]!
    assert.equal(answer.status, status, `${name}: ${answer.text}`)
    if (type !== undefined) assert.equal(answer.type, type, name)
    if (check !== undefined) check(JSON.parse(answer.text) as never)
  }
  await eventually(
    'everything is stored',
    async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
  )
  assert.equal(sink.items.filter((item) => 'dead' in item).length, LETTERS_KEPT)
  assert.equal(sink.items.filter((item) => 'event' in item).length, EVENTS_KEPT)
}

test('golden exchanges by curl', { timeout: 120_000 }, async (t) => {
  if (!hasPeer(t, 'curl', '--version', 'curl')) return
  await goldenExchanges(t, replayedByCurl, 1)
})

for (const [i, library] of ['requests', 'httpx'].entries())
  test(`golden exchanges by Python's ${library}`, { timeout: 600_000 }, async (t) => {
    const python = pythonWith(t, REQUIREMENTS)
    if (python === undefined) return
    const replay: Replay = async (url, all) =>
      JSON.parse(await output(python, [CLIENT, library, url], JSON.stringify(all))) as Answer[]
    await goldenExchanges(t, replay, 2 + i)
  })

const replayedByCurl: Replay = async (url, all) => {
  const answers: Answer[] = []
  for (const { method, path, headers, body } of all) {
    const text = typeof body === 'object' ? body.join('') : (body ?? '')
    const chunked = typeof body === 'object' ? ['-H', 'Transfer-Encoding: chunked'] : []
    const args = ['-sS', '--path-as-is', '-X', method, '-w', '\n%{http_code} %{content_type}', ...chunked]
    for (const [name, value] of Object.entries(headers)) args.push('-H', `${name}: ${value}`)
    if (body !== undefined) args.push('--data-binary', '@-')
    const input = headers['Content-Encoding'] === 'gzip' ? gzipSync(text) : text
    const out = await output('curl', [...args, `${url}${path}`], input)
    const [, answer = '', status = '', type = ''] = /^(.*)\n(\d+) (.*)$/s.exec(out) ?? []
    answers.push({ status: Number(status), type, text: answer })
  }
  return answers
}

function output(command: string, args: readonly string[], input: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
    let [out, problem] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      problem += chunk.toString()
    })
    child.on('error', reject)
    child.on('close', (code) =>
      code === 0 ? resolve(out) : reject(new Error(`${command} ended with ${code}: ${problem}`)),
    )
    child.stdin.end(input)
  })
}

test('records of v3 on a stream: each result comes before the next record is sent, in order', {
  timeout: 60_000,
}, async (t) => {
  const { collector } = await started(t)
  const values = events(900).slice(0, 5)
  let next: ((chunk: Uint8Array | undefined) => void) | undefined
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) =>
      new Promise((resolve) => {
        next = (chunk) => {
          if (chunk === undefined) controller.close()
          else controller.enqueue(chunk)
          resolve()
        }
      }),
  })
  const send = async (chunk: string | undefined): Promise<void> => {
    await eventually('the stream asks for more', async () => next !== undefined)
    const give = next!
    next = undefined
    give(chunk === undefined ? undefined : new TextEncoder().encode(chunk))
  }
  const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, duplex: 'half' }
  const answered = fetch(`${collector.url}${RECORDS_V3}`, init as RequestInit)
  const offsets: number[] = []
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined
  for (const data of values) {
    const record = JSON.stringify({ value: { type: 'JSON', data } })
    await send(record.slice(0, 30))
    await send(record.slice(30))
    reader ??= (await answered).body!.getReader()
    const { value } = await reader.read()
    const result = JSON.parse(new TextDecoder().decode(value)) as { error_code: number; offset: number }
    assert.equal(result.error_code, 200)
    offsets.push(result.offset)
  }
  await send(undefined)
  assert.equal((await reader!.read()).done, true)
  assert.deepEqual(offsets, [0, 1, 2, 3, 4])
})
