/**
 * Slices of a quota at two collectors: what is granted at either of them and at the aggregator together is what fits, to the unit, whatever
 * is killed or stopped meanwhile, and what was lent and not used is there again for whoever asks.
 */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer, Figure, Lease } from '../support/lease-clients.ts'
import { ask, Clients, reserve } from '../support/lease-clients.ts'
import type { Running } from '../support/programs.ts'
import { eventually, freePort, kill, scrape, start, temporaryDirectory, terminate, total } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

const TERM_MS = 2000
const LIMIT = 400
const FROM = '2026-01-01T00:00:00Z'

class Rig {
  readonly data = temporaryDirectory()
  aggregator!: Running
  readonly collectors = new Map<string, Running>()
  readonly #ports = new Map<string, number>()

  static async start(t: TestContext): Promise<Rig> {
    const rig = new Rig()
    for (const name of ['aggregator', 'one', 'two']) rig.#ports.set(name, await freePort())
    t.after(async () => {
      for (const running of [...rig.collectors.values(), rig.aggregator]) {
        running.process.kill('SIGCONT')
        await kill(running)
      }
    })
    await rig.startAggregator()
    await Promise.all(['one', 'two'].map((name) => rig.startCollector(name)))
    const quota = { resource: 'tokens', window: 'lifetime', valid_from: FROM, level: 'user', limit: LIMIT }
    const { status, body } = await rig.ask('aggregator', '/v1/quotas', quota, 60_000)
    assert.equal(status, 201, JSON.stringify(body))
    return rig
  }

  url(at: string): string {
    return `http://127.0.0.1:${this.#ports.get(at)}`
  }

  async startAggregator(): Promise<void> {
    this.aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: this.data,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${this.#ports.get('aggregator')}`,
      FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '100',
      FLEETMETER_AGGREGATOR_QUOTA_LEASE_TERM_MS: String(TERM_MS),
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '100000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '100000',
    })
  }

  async startCollector(name: string): Promise<void> {
    const running = await start('collector', {
      FLEETMETER_DATA_DIR: `${this.data}/${name}`,
      FLEETMETER_COLLECTOR_ID: name,
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${this.#ports.get(name)}`,
      FLEETMETER_AGGREGATOR_URL: this.url('aggregator'),
      FLEETMETER_COLLECTOR_QUOTA_LEASES: 'true',
      FLEETMETER_COLLECTOR_QUOTA_LEASE_TIMEOUT_MS: '1000',
      FLEETMETER_COLLECTOR_HOST: 'false',
    })
    this.collectors.set(name, running)
  }

  ask(at: string, path: string, body?: unknown, timeoutMs?: number): Promise<Answer> {
    return ask(this.url(at), path, body, timeoutMs)
  }

  clients(user: string): Clients {
    return new Clients((at) => this.url(at), user)
  }

  async figure(user: string): Promise<Figure> {
    const { status, body } = await this.ask('aggregator', `/v1/subjects/user/${user}/quotas`)
    assert.equal(status, 200, JSON.stringify(body))
    return (body['data'] as Figure[])[0]!
  }

  async leasesOf(user: string): Promise<readonly Lease[]> {
    const { body } = await this.ask('aggregator', '/v1/quota/leases')
    return (body['data'] as Lease[]).filter(({ user_id }) => user_id === user)
  }
}

/** Nothing is lent: what is granted is all that is held, to the unit, and each one is known. */
async function settled(rig: Rig, clients: Clients, used: number): Promise<void> {
  await eventually('everything is reported and returned', async () => {
    const { held, leased } = await rig.figure(clients.user)
    return leased === '0' && Number(held) === clients.granted.size
  })
  const { held, used: counted } = await rig.figure(clients.user)
  assert.deepEqual([held, counted], [String(clients.granted.size), String(used)])
  for (const id of clients.granted) {
    const { status, body } = await rig.ask('aggregator', `/v1/quota/reservations/${id}`)
    assert.deepEqual([status, body['state']], [200, 'open'], id)
  }
}

test('slices at two collectors', { timeout: 180_000 }, async (t) => {
  const seed = testSeed()
  t.diagnostic(`seed ${seed}`)
  const random = new Random(seed)
  const rig = await Rig.start(t)

  await t.test(
    'exactly what fits is granted, at two collectors and the aggregator, whatever is killed or stopped',
    async (t) => {
      const clients = rig.clients('ada')
      await Promise.all(['one', 'two'].map((at) => clients.warm(at, 3)))
      assert.notEqual((await rig.figure(clients.user)).leased, '0')

      let quiet = false
      const filling = ['one', 'two', 'aggregator', 'one', 'two'].map((at) => clients.fill(at, () => quiet))
      await sleep(random.between(100, 500))
      await kill(rig.collectors.get('one')!)
      await sleep(random.between(0, 300))
      await rig.startCollector('one')
      const two = rig.collectors.get('two')!
      two.process.kill('SIGSTOP')
      await sleep(random.between(0, 300))
      await kill(rig.aggregator)
      await rig.startAggregator()
      await sleep(TERM_MS + 1500) // in doubt by then
      two.process.kill('SIGCONT')
      await sleep(random.between(0, 300))
      await kill(two)
      await rig.startCollector('two')
      quiet = true
      await Promise.all(filling)
      await clients.allGranted(LIMIT, 'aggregator')
      t.diagnostic(`${clients.granted.size} granted, ${clients.local.size} of them by collectors`)
      assert.equal(clients.granted.size, LIMIT)
      await settled(rig, clients, 0)
      assert.ok(clients.local.size > 0)
    },
  )

  await t.test(
    'a stopped collector grants nothing from a slice that is written off; what is left is used up to the limit',
    async () => {
      const clients = rig.clients('bob')
      await clients.warm('one', 3)
      const one = rig.collectors.get('one')!
      one.process.kill('SIGSTOP')
      let lease: Lease | undefined
      await eventually('its slice is in doubt', async () => {
        lease = (await rig.leasesOf(clients.user)).find(({ state }) => state === 'in_doubt')
        return lease !== undefined
      })
      const before = await rig.figure(clients.user)
      assert.deepEqual([before.leased, before.in_doubt], [lease!.left['tokens'], lease!.left['tokens']])
      // Nobody may end what is heard of, nor without a reason.
      const path = `/v1/quota/leases/${lease!.lease}`
      assert.equal((await rig.ask('aggregator', `${path}/write_off`, {})).status, 400)
      assert.equal((await rig.ask('aggregator', `${path}/write_off`, { reason: 'the host burnt' })).status, 200)
      assert.equal((await rig.ask('aggregator', `${path}/release`, { reason: 'twice' })).status, 409)
      const left = Number(lease!.left['tokens'])
      const unreported = clients.granted.size - Number(before.held)

      // Asked while it is stopped: it reads that when it goes on, and knows of no write-off. It may be lent another slice before it reads.
      const asked = Array.from({ length: left + 2 }, (_, i) => reserve(rig.url('one'), clients.user, `late-${i}`))
      await sleep(200)
      one.process.kill('SIGCONT')
      for (const [i, { status, body }] of (await Promise.all(asked)).entries()) {
        assert.equal(status, 201, JSON.stringify(body))
        clients.granted.add(`late-${i}`)
      }
      await Promise.all(['one', 'two', 'aggregator'].map((at) => clients.fill(at, () => true)))
      // What is granted by a slice after it is written off comes off what the write-off used: only what was granted before did.
      const used = left - unreported
      assert.equal(clients.granted.size + used, LIMIT)
      await settled(rig, clients, used)
    },
  )

  await t.test(
    'SIGTERM returns everything at once; a commit works at the collector and at the aggregator',
    async () => {
      const clients = rig.clients('cyd')
      await clients.warm('one', 4)
      const [first, second] = [...clients.local.keys()].slice(-2)
      // At once: the aggregator does not know of them yet.
      const committed = await Promise.all([
        rig.ask('one', `/v1/quota/reservations/${first}/commit`, {}),
        rig.ask('aggregator', `/v1/quota/reservations/${second}/commit`, {}),
      ])
      assert.deepEqual(
        committed.map(({ status, body }) => [status, body['state']]),
        [
          [200, 'committed'],
          [200, 'committed'],
        ],
      )
      assert.notEqual((await rig.figure(clients.user)).leased, '0')
      const metrics = await scrape(rig.url('one'))
      assert.ok(total(metrics, 'fleetmeter_collector_quota_requests_total') >= clients.granted.size)
      const { how, ms } = await terminate(rig.collectors.get('one')!)
      assert.equal(how, 0)
      assert.ok(ms < 5000, `${ms} ms`)
      const { leased, held, used } = await rig.figure(clients.user)
      assert.deepEqual([leased, used, held], ['0', '2', String(clients.granted.size - 2)])
    },
  )
})
