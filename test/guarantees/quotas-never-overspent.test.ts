/**
 * A hard limit holds: a thousand reservations at once, from several processes, for a subject that is not in memory and has room for
 * exactly a hundred; the aggregator is killed in the midst, and who got no answer asks again with the same id. And with the engine
 * away, each quota does as it is defined, answers say so, and the books are right afterwards.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Running } from '../support/programs.ts'
import {
  authorized,
  enginePid,
  eventually,
  freePort,
  kill,
  ready,
  scrape,
  start,
  TOKEN,
  temporaryDirectory,
  terminate,
  total,
} from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

const CLIENT = fileURLToPath(new URL('../support/quota-client.mjs', import.meta.url))
const PROCESSES = 4
const REQUESTS = 1000
const ROOM = 100
const USED = 900
const FROM = '2026-01-01T00:00:00Z'

interface Figure {
  readonly limit: string
  readonly used: string | null
  readonly held: string
  readonly left: string | null
  readonly state: string
}

interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

type Reserved = readonly [id: string, statuses: readonly number[], body: Record<string, unknown>]

class Rig {
  readonly data = temporaryDirectory()
  aggregator!: Running
  #port = 0

  static async start(t: TestContext): Promise<Rig> {
    const rig = new Rig()
    rig.#port = await freePort()
    await rig.again()
    t.after(() => kill(rig.aggregator))
    return rig
  }

  /** @param fault where it kills itself */
  async again(fault = ''): Promise<void> {
    this.aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: this.data,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${this.#port}`,
      FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '100',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '100000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '100000',
      FLEETMETER_FAULT: fault,
    })
  }

  async ask(path: string, body?: unknown, method = body === undefined ? 'GET' : 'POST'): Promise<Answer> {
    const response = await fetch(`${this.aggregator.url}${path}`, {
      method,
      headers: { ...authorized, 'Content-Type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return {
      status: response.status,
      body: (await response.json()) as Record<string, unknown>,
      headers: response.headers,
    }
  }

  async define(quota: object): Promise<string> {
    const { status, body } = await this.ask('/v1/quotas', {
      resource: 'tokens',
      window: 'lifetime',
      valid_from: FROM,
      ...quota,
    })
    assert.equal(status, 201, JSON.stringify(body))
    return String(body['id'])
  }

  reserve(user: string, id: string, tokens: number, more: object = {}): Promise<Answer> {
    return this.ask('/v1/quota/reservations', { id, user_id: user, amounts: { tokens }, ...more })
  }

  /** Reserves and commits so much. */
  async use(user: string, id: string, tokens: number): Promise<void> {
    const reserved = await this.reserve(user, id, tokens)
    assert.equal(reserved.status, 201, JSON.stringify(reserved.body))
    const committed = await this.ask(`/v1/quota/reservations/${id}/commit`, {})
    assert.equal(committed.status, 200, JSON.stringify(committed.body))
  }

  async figure(user: string): Promise<Figure> {
    const { status, body } = await this.ask(`/v1/subjects/user/${user}/quotas`)
    assert.equal(status, 200, JSON.stringify(body))
    return (body['data'] as Figure[])[0]!
  }

  /** Every row of the log is in ClickHouse. */
  async stored(): Promise<void> {
    await eventually('rows are stored', async () => {
      const metrics = await scrape(this.aggregator.url)
      const of = (name: string): number => total(metrics, `fleetmeter_aggregator_owner_${name}_position`)
      return of('stored') === of('log')
    })
  }
}

/** What each reservation of a process was answered. */
async function client(url: string, prefix: string, count: number, body: object): Promise<Reserved[]> {
  const child = spawn(process.execPath, [CLIENT, url, TOKEN, prefix, String(count), JSON.stringify(body)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  assert.equal(code, 0)
  return JSON.parse(output) as Reserved[]
}

const few = (figure: Figure): unknown => [figure.used, figure.held, figure.left]

test('a thousand reservations at once where a hundred fit: a hundred hold, whatever is killed', {
  timeout: 300_000,
}, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const rig = await Rig.start(t)
  await rig.define({ level: 'user', limit: USED + ROOM })
  await rig.define({ level: 'tenant', limit: 10 * (USED + ROOM) })
  await rig.use('ada', 'before', USED)
  await rig.stored()
  await kill(rig.aggregator)

  // Not in memory now: it is counted while all of them ask. Then it ends itself behind an append, before anything follows from it.
  await rig.again(`owner.append.after:${random.between(2, 40)}`)
  const asked = Array.from({ length: PROCESSES }, (_, i) =>
    client(rig.aggregator.url, `client-${i}`, REQUESTS / PROCESSES, { user_id: 'ada', amounts: { tokens: 1 } }),
  )
  await rig.aggregator.exited
  await rig.again()
  await sleep(random.between(0, 200))
  await kill(rig.aggregator)
  await rig.again()
  const answers = (await Promise.all(asked)).flat()

  const granted = answers.filter(([, , { granted: yes }]) => yes === true)
  const refused = answers.filter(([, statuses]) => statuses.at(-1) === 429)
  assert.deepEqual([granted.length, refused.length], [ROOM, REQUESTS - ROOM])
  t.diagnostic(`${answers.filter(([, statuses]) => statuses.includes(0)).length} were asked again without an answer`)
  assert.deepEqual(few(await rig.figure('ada')), [String(USED), String(ROOM), '0'])
  // What each was told is so.
  for (const [id] of granted) assert.equal((await rig.ask(`/v1/quota/reservations/${id}`)).body['state'], 'open', id)
  for (const [id] of refused) assert.equal((await rig.ask(`/v1/quota/reservations/${id}`)).status, 404, id)
  const [, , problem] = refused[0]!
  assert.equal(problem['code'], 'QUOTA_EXCEEDED')
  assert.equal((problem['refused_by'] as { level: string }).level, 'user')

  // Settled: some used, some given back; and counted anew from the tables it is the same.
  for (const [i, [id]] of granted.entries()) {
    const path = `/v1/quota/reservations/${id}`
    const { status } = i % 2 === 0 ? await rig.ask(`${path}/commit`, {}) : await rig.ask(`${path}/release`, {})
    assert.equal(status, 200)
  }
  const settled = [String(USED + ROOM / 2), '0', String(ROOM / 2)]
  assert.deepEqual(few(await rig.figure('ada')), settled)
  await rig.stored()
  await kill(rig.aggregator)
  await rig.again()
  assert.deepEqual(few(await rig.figure('ada')), settled)
  assert.equal((await terminate(rig.aggregator)).how, 0)
  await rig.again()
  assert.deepEqual(few(await rig.figure('ada')), settled)
})

for (const [how, stop, goOn] of [
  ['stopped', 'SIGSTOP', 'SIGCONT'],
  ['killed', 'SIGKILL', undefined],
] as const)
  test(`the engine is ${how}: quotas do as they are defined, and the books are right afterwards`, {
    timeout: 300_000,
  }, async (t) => {
    const rig = await Rig.start(t)
    await rig.define({ level: 'user', limit: 10 })
    const open = await rig.define({ level: 'user', subject: 'open', limit: 10, when_unknown: 'open' })
    for (const user of ['hot', 'open', 'closed']) await rig.use(user, `${user}-before`, 4)
    await rig.stored()
    await kill(rig.aggregator)
    await rig.again()
    await ready(rig.aggregator.url)
    assert.deepEqual(few(await rig.figure('hot')), ['4', '0', '6'])

    const engine = enginePid(rig.aggregator)!
    process.kill(engine, stop)
    const closed = await rig.reserve('closed', 'closed-1', 1)
    if (how === 'stopped') {
      assert.equal(closed.status, 503, JSON.stringify(closed.body))
      assert.deepEqual([closed.body['degraded'], closed.headers.get('retry-after')], [true, '1'])
      assert.match(String(closed.body['what_to_do']), /could not be counted/)
      assert.equal((await rig.figure('closed')).state, 'unknown')
      // More than fits: nobody can know.
      const much = await rig.reserve('open', 'open-1', 8)
      assert.equal(much.status, 201, JSON.stringify(much.body))
      assert.deepEqual([much.body['degraded'], much.body['unknown']], [true, [open]])
      // What is in memory is decided as ever.
      assert.equal((await rig.reserve('hot', 'hot-1', 7)).status, 429)
    }
    const fits = await rig.reserve('hot', 'hot-2', 6)
    assert.deepEqual([fits.status, fits.body['degraded']], [201, false], JSON.stringify(fits.body))
    if (goOn !== undefined) process.kill(engine, goOn)

    await eventually('what was used is counted again', async () => (await rig.figure('closed')).used === '4')
    assert.deepEqual(few(await rig.figure('hot')), ['4', '6', '0'])
    if (how === 'stopped') assert.deepEqual(few(await rig.figure('open')), ['4', '8', '0'])
    const now = await rig.reserve('open', 'open-2', how === 'stopped' ? 1 : 7)
    assert.equal(now.status, 429, JSON.stringify(now.body))
  })
