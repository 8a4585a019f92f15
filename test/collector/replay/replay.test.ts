/** The replay of the recorded host, against doors that keep what they are sent. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { ReplayArguments } from '../../../collector/replay/arguments.ts'
import { readArguments, UsageError } from '../../../collector/replay/arguments.ts'
import { DoorError } from '../../../collector/replay/doors.ts'
import { RecordingError, readSamples, readTasks } from '../../../collector/replay/recording.ts'
import { replay } from '../../../collector/replay/replay.ts'
import { checkEvent } from '../../../proto/events/check.ts'
import { PersonalPolicy } from '../../../proto/events/personal.ts'

const RECORDING = fileURLToPath(new URL('../../fixtures/gpu-h100', import.meta.url))

interface Kept {
  readonly url: string
  readonly events: Map<string, Record<string, unknown>>
  readonly bodies: Buffer[]
  /** How many requests are answered "later" first. */
  later: number
}

async function doors(t: TestContext): Promise<Kept> {
  const kept = { url: '', events: new Map<string, Record<string, unknown>>(), bodies: [] as Buffer[], later: 0 }
  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray())
    const answer = (status: number, value: unknown = ''): void => {
      response.writeHead(status, { 'Content-Type': 'application/json', 'Retry-After': '0' })
      response.end(JSON.stringify(value))
    }
    if (request.headers.authorization !== 'Bearer right') return answer(401, { message: 'Unauthorized' })
    if (kept.later-- > 0) return answer(429)
    if (request.url === '/api/v1/write') {
      kept.bodies.push(body)
      response.writeHead(204).end()
      return
    }
    if (request.method === 'GET') {
      const event = kept.events.get(request.url!.split('/').at(-1)!)
      return event === undefined ? answer(404) : answer(200, { event })
    }
    const event = JSON.parse(body.toString()) as Record<string, unknown>
    const id = String(event['event_id'])
    const status = kept.events.has(id) ? 'duplicate' : 'accepted'
    kept.events.set(id, event)
    answer(200, { events: [{ event_id: id, status }] })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  kept.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return kept
}

const given = (url: string, more: Partial<ReplayArguments> = {}): ReplayArguments => ({
  directory: RECORDING,
  speed: Number.POSITIVE_INFINITY,
  url,
  token: 'right',
  host: undefined,
  user: 'ada',
  project: 'demo',
  newIds: false,
  ...more,
})

async function run(of: ReplayArguments): Promise<{ text: string; refused: number }> {
  let text = ''
  const { refused } = await replay(of, {
    out: (more) => {
      text += more
    },
    err: () => {},
    terminal: false,
  })
  return { text, refused }
}

test('replay() ends now; again it sends the same and changes nothing; with new ids it is other tasks', async (t) => {
  const kept = await doors(t)
  const before = Date.now()
  const first = await run(given(kept.url))
  assert.match(first.text, /^\d+ samples of host gpu-h100, 8 events of 4 tasks: 8 new, 0 duplicate, 0 refused\.$/m)
  assert.match(first.text, /\/v1\/tasks\/ec35b519-5333-4c36-85ad-068589968470'/)
  const events = [...kept.events.values()]
  assert.equal(events.length, 8)
  for (const event of events) {
    const checked = checkEvent(event, {
      tenant: 'default',
      choose: () => ({ reason: 'none is named' }),
      newest: Date.now(),
      personal: new PersonalPolicy([]),
    })
    assert.ok('event' in checked && checked.coerced === 0, 'a collector takes it as it is')
  }
  const ends = events.map((event) => Date.parse(String(event['timestamp'])))
  const last = Math.max(...ends)
  assert.ok(last <= Date.now() && last > before - 60_000, 'the last task has just ended')
  const [matmul] = events.filter((event) => event['event_type'] === 'xumi.generation.complete')
  const start = Date.parse(String(matmul!['start_generation']))
  assert.equal(Date.parse(String(matmul!['timestamp'])) - start, 20_024)
  assert.deepEqual(
    [matmul!['task_id'], matmul!['result'], matmul!['host_name'], matmul!['user_id'], matmul!['tags']],
    ['ec35b519-5333-4c36-85ad-068589968470', true, 'gpu-h100', 'ada', { project: 'demo' }],
  )

  const bodies = kept.bodies.splice(0)
  const again = await run(given(kept.url))
  assert.match(again.text, /^It was replayed before/)
  assert.match(again.text, / 0 new, 8 duplicate, 0 refused\.$/m)
  assert.deepEqual(kept.bodies.splice(0), bodies, 'the same samples at the same times')
  assert.deepEqual([...kept.events.values()], events)

  const other = await run(given(kept.url, { newIds: true }))
  assert.match(other.text, / 8 new, 0 duplicate, 0 refused\.$/m)
  const tasks = new Set([...kept.events.values()].map((event) => event['task_id']))
  assert.equal(tasks.size, 8)
})

test('replay() waits where it is told "later", and says what a door refuses', async (t) => {
  const kept = await doors(t)
  kept.later = 2
  assert.match((await run(given(kept.url))).text, / 8 new,/)
  await assert.rejects(
    run(given(kept.url, { token: 'wrong' })),
    (error) => error instanceof DoorError && /answers 401 \(--token, FLEETMETER_TOKEN/.test(error.message),
  )
  await assert.rejects(run(given('http://127.0.0.1:1')), /does not answer/)
})

test('replay() at a speed takes as long as that says', async (t) => {
  const kept = await doors(t)
  const begun = performance.now()
  await run(given(kept.url, { speed: 95 }))
  assert.ok(performance.now() - begun >= 900, 'some 95 s, 95 times as fast')
  assert.equal(kept.events.size, 8)
})

test('a recording that cannot be read is named by file and line', async () => {
  const head = 'timestamp, index, uuid, name, utilization.gpu [%]'
  const row = '2026/11/21 00:01:39.395, 0, GPU-1, H100, 5 %'
  assert.equal(readSamples('s.csv', `${head}\n${row}\n`)[0]!.values.get('DCGM_FI_DEV_GPU_UTIL'), 5)
  assert.equal(readSamples('s.csv', `${head}\n${row.replace('5 %', '[N/A]')}`)[0]!.values.size, 0)
  const samples: readonly (readonly [text: string, wrong: RegExp])[] = [
    ['', /s\.csv, line 1: there is no column "timestamp"/],
    ['timestamp, index, uuid, name', /s\.csv, line 1: no column is a figure/],
    [`${head}\n${row}\n2026/11/21 00:01:40`, /s\.csv, line 3: 1 cells under 5 columns/],
    [`${head}\n${row.replace('2026/11/21', 'yesterday')}`, /s\.csv, line 2: "yesterday .*" is no time/],
    [`${head}\n${row.replace('5 %', 'hot')}`, /s\.csv, line 2: "hot" under utilization.gpu is no number/],
  ]
  for (const [text, wrong] of samples) assert.throws(() => readSamples('s.csv', text), wrong)
  const task = { task_id: 't', kind: 'k', start: '2026-11-21T00:00:00Z', end: '2026-11-21T00:00:01Z', result: true }
  const tasks: readonly (readonly [text: string, wrong: RegExp])[] = [
    ['{"task_id"', /t\.jsonl, line 1: no JSON/],
    ['[]', /line 1: expected an object/],
    [JSON.stringify({ ...task, end: '2026-11-20T00:00:00Z' }), /line 1: it ends before it starts/],
    [JSON.stringify({ ...task, result: 'yes' }), /line 1: "result": expected true or false/],
    [`${JSON.stringify(task)}\n\n${JSON.stringify(task)}`, /line 3: task t stands on line 1 already/],
  ]
  for (const [text, wrong] of tasks) assert.throws(() => readTasks('t.jsonl', text), wrong)
  const empty = mkdtempSync(join(tmpdir(), 'replay-'))
  writeFileSync(join(empty, 'tasks.jsonl'), '')
  await assert.rejects(run(given('http://127.0.0.1:1', { directory: empty })), RecordingError)
})

test('readArguments() names what it does not understand', () => {
  const read = (...argv: string[]) => readArguments(argv, { FLEETMETER_TOKEN: 'secret' })
  assert.deepEqual(
    read('dir', '--speed', '2', '--url', 'http://h:1/'),
    given('http://h:1', {
      directory: 'dir',
      speed: 2,
      token: 'secret',
      user: 'replay',
      project: 'replay',
    }),
  )
  assert.equal(read('--help'), 'help')
  for (const argv of [
    [],
    ['a', 'b'],
    ['a', '--speed', '0'],
    ['a', '--speed', 'fast'],
    ['a', '--url', 'h'],
    ['a', '--no'],
  ])
    assert.throws(() => read(...argv), UsageError, argv.join(' '))
})
