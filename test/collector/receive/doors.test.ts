/** The doors of a real collector, with no aggregator anywhere: every status, and bodies that nobody should send. */
import assert from 'node:assert/strict'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { after, before, test } from 'node:test'
import { encodeWriteRequest } from '../../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import type { Running } from '../../support/programs.ts'
import { authorized, eventually, kill, scrape, start, temporaryDirectory, total } from '../../support/programs.ts'
import { Random, testSeed } from '../../support/random.ts'
import { encodeRequest2, remoteWrite2Body, remoteWriteBody } from '../../support/write-request.ts'

let collector: Running
before(async () => {
  collector = await start('collector', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:9',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_BODY_BYTES_MAX: '200KiB',
    FLEETMETER_COLLECTOR_DECODED_BYTES_MAX: '1MiB',
    FLEETMETER_COLLECTOR_RECEIVING_BYTES_MAX: '1MiB',
    FLEETMETER_LOG_LEVEL: 'error',
  })
})
after(async () => {
  await kill(collector)
})

const snappy = { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' }
const now = Date.now()

async function write(
  body: BodyInit,
  headers: Record<string, string> = snappy,
  method = 'POST',
): Promise<{ status: number; text: string; headers: Headers }> {
  const response = await fetch(`${collector.url}/api/v1/write`, {
    method,
    headers,
    ...(method === 'POST' ? { body } : {}),
    ...(body instanceof ReadableStream ? { duplex: 'half' } : {}),
  } as RequestInit)
  return { status: response.status, text: await response.text(), headers: response.headers }
}

const good = (value = 1) => remoteWriteBody([{ name: 'up', labels: { job: 'test' }, time: now, value }])
const raw = (labels: [string, string][], time = now) =>
  Uint8Array.from(portableSnappy.compress(encodeWriteRequest([{ labels, samples: [{ timestamp: time, value: 1 }] }])))

test('a sound request is answered 204 with no body, and so is the same again', async () => {
  for (let i = 0; i < 2; i++) {
    const { status, text, headers } = await write(good())
    assert.deepEqual([status, text], [204, ''])
    assert.equal(headers.get('x-prometheus-remote-write-samples-written'), null, '1.0 answers claim nothing')
  }
})

test('content types and encodings: 1.0 in every spelling, everything else 415 before the body is read', async () => {
  for (const type of [
    'application/x-protobuf',
    'application/x-protobuf;proto=prometheus.WriteRequest',
    'Application/X-Protobuf; proto=prometheus.WriteRequest',
    'application/x-protobuf; foo=bar',
  ]) {
    assert.equal((await write(good(), { ...snappy, 'Content-Type': type })).status, 204, type)
  }
  for (const [headers, reason] of [
    [{ ...snappy, 'Content-Type': 'application/json' }, /application\/json/],
    [{ ...snappy, 'Content-Type': 'application/x-protobuf;proto=io.prometheus.write.v3.Request' }, /write\.v3/],
    [{ ...snappy, 'Content-Encoding': 'gzip' }, /gzip/],
    [{ ...snappy, 'Content-Encoding': 'snappy, gzip' }, /snappy, gzip/],
  ] as const) {
    const { status, text } = await write('not even snappy', headers)
    assert.equal(status, 415)
    assert.match(text, reason)
  }
})

test('a wrong token is 401 although the network is open; other methods are 405', async () => {
  assert.equal((await write(good(), { ...snappy, Authorization: 'Bearer wrong' })).status, 401)
  assert.equal((await write(good(), { ...snappy, ...authorized })).status, 204)
  const get = await write('', {}, 'GET')
  assert.deepEqual([get.status, get.headers.get('allow')], [405, 'POST'])
})

test('undecodable bodies are 400 with a reason', async () => {
  const corrupt = good().slice()
  corrupt[0] = 0x30
  for (const [body, reason] of [
    [corrupt, /snappy/],
    ['', /snappy/],
    [portableSnappy.compress(Uint8Array.of(0x0a, 200, 1)), /truncated|states|index out of range/],
    [portableSnappy.compress(Uint8Array.of(0x0b)), /write request/],
    [Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0x0f, 0), /4294967295 bytes, at most 1048576 allowed/],
  ] as const) {
    const { status, text } = await write(body as Uint8Array<ArrayBuffer>)
    assert.equal(status, 400)
    assert.match(text, reason)
  }
})

test('samples that cannot be taken are refused with their reason, their neighbours are written', async () => {
  for (const [body, reason] of [
    [raw([['job', 'x']]), /no_metric_name/],
    [raw([]), /no_metric_name/],
    [raw([['__name__', '']]), /no_metric_name/],
    [
      raw([
        ['', 'x'],
        ['__name__', 'up'],
      ]),
      /empty_label_name/,
    ],
    [
      raw([
        ['__name__', 'up'],
        ['a', '1'],
        ['a', '2'],
      ]),
      /duplicate_label/,
    ],
    [
      raw([
        ['__name__', 'up'],
        ['a', 'x'.repeat(9000)],
      ]),
      /label_too_long/,
    ],
    [
      raw([['__name__', 'up'], ...Array.from({ length: 70 }, (_, i): [string, string] => [`l${i}`, 'x'])]),
      /too_many_labels/,
    ],
    [raw([['__name__', 'up']], now + 3_600_000), /too_new/],
    [raw([['__name__', 'up']], 0), /too_old/],
  ] as const) {
    const { status, text } = await write(body)
    assert.equal(status, 400)
    assert.match(text, /1 of 1 samples not written/)
    assert.match(text, reason)
  }
  const mixed = Uint8Array.from(
    portableSnappy.compress(
      encodeWriteRequest([
        { labels: [['__name__', 'kept']], samples: [{ timestamp: now, value: 1 }] },
        { labels: [['a', 'b']], samples: [{ timestamp: now, value: 1 }] },
      ]),
    ),
  )
  const before = total(await scrapeAfterTick(), 'fleetmeter_collector_items_waiting')
  assert.match((await write(mixed)).text, /1 of 2 samples not written, the others are/)
  assert.equal(total(await scrapeAfterTick(), 'fleetmeter_collector_items_waiting'), before + 1)
})

test('labels in any order are one series, and a label without a value is none', async () => {
  const before = total(await scrapeAfterTick(), 'fleetmeter_collector_series')
  for (const labels of [
    [
      ['__name__', 'order'],
      ['a', '1'],
      ['b', '2'],
    ],
    [
      ['b', '2'],
      ['a', '1'],
      ['__name__', 'order'],
    ],
    [
      ['a', '1'],
      ['empty', ''],
      ['b', '2'],
      ['__name__', 'order'],
    ],
  ] as [string, string][][]) {
    assert.equal((await write(raw(labels))).status, 204)
  }
  assert.equal(total(await scrapeAfterTick(), 'fleetmeter_collector_series'), before + 1)
})

test('bodies on their way in have a bound together: beyond it senders are told to come again, and can', async () => {
  const { port, hostname } = new URL(collector.url)
  const head = 'POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Length: 200000\r\n\r\n'
  const slow = Array.from({ length: 8 }, () => connect(Number(port), hostname))
  for (const socket of slow) {
    socket.on('error', () => {})
    socket.write(head)
    socket.write(new Uint8Array(150_000))
  }
  const large = new Uint8Array(150_000)
  await eventually('there is no room', async () => (await write(large)).status === 503)
  const { headers, text } = await write(large)
  assert.equal(headers.get('retry-after'), '1')
  assert.match(text, /on their way in/)
  for (const socket of slow) socket.destroy()
  await eventually(
    'there is room again',
    async () => (await write(good(4))).status === 204 && (await write(large)).status === 400,
  )
})

test("remote write at Primus Lens' paths, by POST and PUT", async () => {
  for (const path of ['/v1/prometheus', '/prometheus']) {
    const ask = async (method: string): Promise<number> =>
      (
        await fetch(`${collector.url}${path}`, {
          method,
          headers: snappy,
          ...(method === 'GET' ? {} : { body: good(3) }),
        })
      ).status
    assert.deepEqual([await ask('POST'), await ask('PUT'), await ask('GET')], [204, 204, 405])
  }
})

test('2.0: the answer counts what is written, also where a part is not; 1.0 bodies under its name hold nothing', async () => {
  const version2 = { ...snappy, 'Content-Type': 'application/x-protobuf; proto=io.prometheus.write.v2.Request' }
  const point = (labels: Record<string, string>, time = now) => ({ name: 'two', labels, time, value: 1 })
  const written = (headers: Headers): (string | null)[] =>
    ['samples', 'histograms', 'exemplars'].map((what) => headers.get(`x-prometheus-remote-write-${what}-written`))
  for (let i = 0; i < 2; i++) {
    const { status, text, headers } = await write(remoteWrite2Body([point({ a: '1' }), point({ a: '2' })]), version2)
    assert.deepEqual([status, text, ...written(headers)], [204, '', '2', '0', '0'])
  }
  const partial = await write(remoteWrite2Body([point({ a: '3' }), point({ a: '4' }, 1)]), version2)
  assert.deepEqual([partial.status, ...written(partial.headers)], [400, '1', '0', '0'])
  assert.match(partial.text, /1 of 2 samples not written.*too_old/)
  const none = await write('not snappy', version2)
  assert.deepEqual([none.status, ...written(none.headers)], [400, '0', '0', '0'])
  const nameless = await write(
    Uint8Array.from(
      portableSnappy.compress(encodeRequest2([{ labels: [['a', 'b']], samples: [{ timestamp: now, value: 1 }] }])),
    ),
    version2,
  )
  assert.deepEqual([nameless.status, ...written(nameless.headers)], [400, '0', '0', '0'])
})

test('bodies over the limit are 413, stated or not, and the answer reaches a client that writes to the end first', async () => {
  const large = new Uint8Array(40 * 1024 * 1024)
  for (const stated of [true, false]) {
    for (let i = 0; i < 5; i++) {
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const request = httpRequest(`${collector.url}/api/v1/write`, {
          method: 'POST',
          headers: { ...snappy, ...(stated ? { 'Content-Length': large.length } : {}) },
        })
        // Reads nothing before everything is written, as many clients do.
        request.on('response', (response) => {
          response.resume()
          response.on('end', () => resolve(response.statusCode))
        })
        request.on('error', reject)
        request.end(large)
      })
      assert.equal(status, 413)
    }
  }
  assert.equal((await write(good(2))).status, 204)
})

test('what is not HTTP is answered as JSON, and a method is judged after the token', async () => {
  const { port } = new URL(collector.url)
  const talk = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connect(Number(port), '127.0.0.1', () => socket.end(text))
      let answer = ''
      socket.on('data', (chunk) => {
        answer += chunk.toString()
      })
      socket.on('close', () => resolve(answer))
      socket.on('error', () => resolve(answer))
    })
  assert.match(await talk('this is not HTTP\r\n\r\n'), /^HTTP\/1.1 400 [\s\S]*"code":"BAD_REQUEST"/)
  assert.match(
    await talk(`GET / HTTP/1.1\r\nHost: x\r\nA: ${'a'.repeat(80_000)}\r\n\r\n`),
    /^HTTP\/1.1 431 [\s\S]*"message"/,
  )
  const get = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`${collector.url}/v1/metrics/batch`, { headers })).status
  assert.deepEqual([await get({}), await get(authorized)], [401, 405])
})

test('a connection that ends inside the body, and a request line that is no path, hurt nobody', async () => {
  const { port } = new URL(collector.url)
  const talk = (text: string, leave = false) =>
    new Promise<string>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1', () => (leave ? socket.end(text) : socket.write(text)))
      let answer = ''
      socket.on('data', (chunk) => {
        answer += chunk.toString()
      })
      socket.on('close', () => resolve(answer))
      socket.on('error', () => resolve(answer))
    })
  await talk(
    `POST /api/v1/write HTTP/1.1\r\nHost: x\r\nContent-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\nContent-Length: 1000\r\n\r\nhalf`,
    true,
  )
  // As a proxy to anywhere it would reach what the sender cannot.
  assert.match(
    await talk(`GET ${collector.url}/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    /^HTTP\/1\.1 400 /,
  )
  assert.match(
    await talk(`GET http://example.org/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
    /^HTTP\/1\.1 400 /,
  )
  assert.match(await talk(`GET //example.org/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`), /^HTTP\/1\.1 503 /)
  assert.equal((await write(good())).status, 204)
})

test('what is passed on while the aggregator is away is 503 with Retry-After, as JSON', async () => {
  const response = await fetch(`${collector.url}/api/public/metrics/names`, { headers: authorized })
  assert.deepEqual(
    [response.status, response.headers.get('retry-after'), ((await response.json()) as { code: string }).code],
    [503, '1', 'SERVICE_UNAVAILABLE'],
  )
})

test('thousands of mutated bodies: no crash, no 5xx, every refusal with a reason', async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const base = encodeWriteRequest(
    Array.from({ length: 20 }, (_, i) => ({
      labels: [
        ['__name__', 'm'],
        ['i', String(i)],
      ] as [string, string][],
      samples: [{ timestamp: now, value: i }],
    })),
  )
  const mutate = (bytes: Uint8Array): Uint8Array => {
    const out = bytes.slice(0, random.chance(0.2) ? random.between(0, bytes.length) : bytes.length)
    for (let i = random.between(0, 3); i > 0 && out.length > 0; i--)
      out[random.between(0, out.length - 1)] = random.between(0, 255)
    return out
  }
  const statuses = new Map<number, number>()
  for (let i = 0; i < 100; i++) {
    await Promise.all(
      Array.from({ length: 30 }, async () => {
        const body = random.chance(0.5) ? mutate(portableSnappy.compress(base)) : portableSnappy.compress(mutate(base))
        const { status, text } = await write(Uint8Array.from(body))
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
        assert.ok(status === 204 || status === 400, `${status}: ${text}`)
        if (status === 400) assert.ok(text.length > 30, text)
      }),
    )
  }
  assert.ok((statuses.get(400) ?? 0) > 500 && (statuses.get(204) ?? 0) > 100, JSON.stringify([...statuses]))
  assert.equal((await fetch(`${collector.url}/readyz`)).status, 200)
})

/** Figures come with the shard's next tick. */
async function scrapeAfterTick(): Promise<Map<string, number>> {
  await new Promise((resolve) => setTimeout(resolve, 700))
  return scrape(collector.url)
}
