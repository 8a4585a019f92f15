/** Who sends what: counted by sender, bounded, and written as samples of the tenant whose senders they are. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SenderFigures } from '../../../collector/receive/sender-figures.ts'
import type { Origin } from '../../../collector/receive/senders.ts'
import { Senders } from '../../../collector/receive/senders.ts'
import type { IncomingBody, Taken } from '../../../collector/shard/reception.ts'
import type { Outcome } from '../../../proto/runtime/outcome.ts'
import { ok, retry } from '../../../proto/runtime/outcome.ts'
import { readWriteRequest } from '../../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import { startPair } from '../../support/pair.ts'
import { authorized, eventually } from '../../support/programs.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const origin = (address: string, credential = 'none'): Origin => ({ tenant: 'default', address, credential })

test('Senders.current() has one entry for each tenant, credential, address and door', () => {
  const senders = new Senders(() => 1000)
  senders.add(origin('10.0.0.1'), 'remote_write', 'ok', { received: 7, refused: [['too_old', 2]] })
  senders.add(origin('10.0.0.1'), 'remote_write', 'ok', { received: 3, refused: [['too_old', 1]] })
  senders.add(origin('10.0.0.1'), 'metrics_batch', 'limited')
  senders.add({ ...origin('10.0.0.1'), tenant: 'other' }, 'remote_write', 'ok')
  const [first, second, third] = senders.current()
  assert.deepEqual(
    [first?.samplesReceived, first?.samplesRefused.get('too_old'), first?.requests.get('ok')],
    [10, 3, 2],
  )
  assert.deepEqual([second?.door, second?.requests.get('limited')], ['metrics_batch', 1])
  assert.deepEqual([third?.tenant, senders.current().length], ['other', 3])
})

test('Senders.add() counts addresses together beyond the bound, and makes room of those that were quiet', () => {
  let now = 0
  const senders = new Senders(() => now, 3)
  for (let i = 0; i < 100; i++) senders.add(origin(`10.0.0.${i}`), 'remote_write', 'ok')
  assert.deepEqual(
    senders.current().map(({ address, requests }) => [address, requests.get('ok')]),
    [
      ['10.0.0.0', 1],
      ['10.0.0.1', 1],
      ['10.0.0.2', 1],
      ['(other)', 97],
    ],
  )
  now = 300_001
  senders.add(origin('10.0.0.2'), 'remote_write', 'ok')
  senders.add(origin('10.1.0.0'), 'remote_write', 'ok')
  assert.ok(senders.current().length <= 4)
  assert.ok(senders.current().some(({ address }) => address === '(other)'))
})

test('Senders.add() keeps few of those without a valid token', () => {
  const senders = new Senders(() => 0)
  for (let i = 0; i < 5000; i++)
    senders.add(origin(`10.0.${i >> 8}.${i & 255}`, 'invalid'), 'remote_write', 'unauthorized')
  assert.equal(senders.current().length, 51)
  senders.add(origin('10.9.9.9'), 'remote_write', 'ok')
  assert.equal(senders.current().at(-1)?.address, '10.9.9.9')
})

test('Senders.current() forgets who sent nothing for an hour', () => {
  let now = 0
  const senders = new Senders(() => now)
  senders.add(origin('10.0.0.1'), 'remote_write', 'ok')
  now = 3_600_001
  assert.deepEqual(senders.current(), [])
})

test('SenderFigures: a series begins with a zero, also when the shard was full at its first round', async () => {
  let now = 1_761_991_200_000
  const clock = { now: () => now, monotonic: () => now }
  const senders = new Senders(clock.now)
  senders.add(origin('10.0.0.1'), 'remote_write', 'ok', { received: 7, refused: [] })
  const bodies: Uint8Array[] = []
  const take = async ({ body }: IncomingBody): Promise<Outcome<Taken>> => {
    bodies.push(body)
    return bodies.length === 1 ? retry('busy', 'full') : ok({} as Taken)
  }
  const options = { intervalMs: 3_600_000, collector: 'c', instance: 'h', tenant: 'default', clock }
  const figures = new SenderFigures({ take }, [], senders, options)
  for (let round = 0; round < 3; round++) {
    now += 10_000
    await figures.start()
    await figures.stop() // writes a round
  }
  assert.equal(figures.dropped, 1)
  const samplesIn = (body: Uint8Array): number => {
    let samples = 0
    readWriteRequest(portableSnappy.uncompress(body, 1 << 20), {
      ...{ expect: () => 0, series() {}, retract() {}, histogram() {}, exemplarMessage() {}, metadataMessage() {} },
      sample: () => samples++,
    })
    return samples
  }
  assert.deepEqual(bodies.map(samplesIn), [5, 5, 3], 'two counters and a time; the counters with a zero at first')
})

test('a collector writes its senders as samples of their tenants, refusals with their reasons', async (t) => {
  const { collector, aggregator } = await startPair(t, {
    FLEETMETER_COLLECTOR_SENDER_INTERVAL_MS: '100',
    FLEETMETER_KEYS: JSON.stringify([{ name: 'team-a', token: 'a-token', tenant: 'team-a', may: ['write', 'read'] }]),
  })
  const write = (token: string, time: number): Promise<Response> =>
    fetch(`${collector.url}/api/v1/write`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}` },
      body: remoteWriteBody([{ name: 'up', labels: {}, time, value: 1 }]),
    })
  assert.equal((await write('a-token', Date.now())).status, 204)
  assert.equal((await write('a-token', Date.now() + 3_600_000)).status, 400)
  assert.equal((await write('wrong', Date.now())).status, 401)
  const values = async (name: string, headers: Record<string, string>): Promise<string[]> => {
    const answer = await fetch(`${aggregator.url}/api/public/metrics/query?name=${name}&agg=last&step=1d`, { headers })
    const { data } = (await answer.json()) as {
      data: { labels: Record<string, string>; values: { value: number }[] }[]
    }
    return data.map(
      ({ labels: l, values: v }) =>
        `${l['credential']} ${l['door']} ${l['reason'] ?? l['outcome'] ?? ''} ${v[0]!.value}`,
    )
  }
  const teamA = { Authorization: 'Bearer a-token' }
  await eventually('what team-a sent is told to it', async () => {
    assert.deepEqual(await values('fleetmeter_sender_samples_received_total', teamA), ['key:team-a remote_write  2'])
    assert.deepEqual(await values('fleetmeter_sender_samples_refused_total', teamA), [
      'key:team-a remote_write too_new 1',
    ])
    assert.deepEqual(await values('fleetmeter_sender_requests_total', teamA), ['key:team-a remote_write ok 2'])
    return true
  })
  await eventually('who had no valid token is told to the tenant of the collector, and to no other', async () => {
    assert.deepEqual(await values('fleetmeter_sender_requests_total', authorized), [
      'invalid remote_write unauthorized 1',
    ])
    return true
  })
})
