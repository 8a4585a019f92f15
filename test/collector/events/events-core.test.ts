/**
 * The events lane through any history of requests, failing disks, crashes and answers of an aggregator: what was acknowledged arrives,
 * and the sum holds at every step.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { waitingEvents } from '../../../collector/events/event-counts.ts'
import { EventsCore } from '../../../collector/events/events-core.ts'
import type { Answered, IncomingEvents } from '../../../collector/events/incoming.ts'
import { FORMATS } from '../../../collector/events/incoming.ts'
import type { ReceivedItem } from '../../../proto/events/event.ts'
import type { Outcome } from '../../../proto/runtime/outcome.ts'
import { decodeEventBatch } from '../../../proto/wire/event-batch.ts'
import { byIdentity } from '../../support/event-sink.ts'
import { event, incoming, NOW, OPTIONS, uuid } from '../../support/events-lane.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import { Random, testSeed } from '../../support/random.ts'

const ALL = { roomBatches: 100, roomBytes: 1_000_000, urgent: false }

function answered(outcome: Outcome<Answered> | undefined): { status: number; body: never } {
  assert.equal(outcome?.kind, 'ok', JSON.stringify(outcome))
  return { status: outcome.value.status, body: JSON.parse(outcome.value.text) as never }
}

function arrived(core: EventsCore, now = NOW): ReceivedItem[] {
  const batches = core.tick({ now, monotonic: now, stored: [], ...ALL })
  return batches.flatMap(({ bytes }) => [...decodeEventBatch(bytes).items])
}

function checkSum(core: EventsCore): void {
  for (const [door, c] of Object.entries(core.snapshot().counts.doors)) {
    const refused = Object.values(c.refused).reduce((a, b) => a + b)
    assert.ok(waitingEvents(c) >= 0, door)
    assert.equal(c.received + c.recovered, refused + c.duplicate + c.stored + waitingEvents(c), door)
  }
}

test('EventsCore.take() answers each event for itself, and repeats as such, also within one request', () => {
  const core = new EventsCore(new MemoryFiles(), OPTIONS)
  const body = [event(1), event(1), event(2, { timestamp: 'never' }), event(3)]
  const [first, second] = core.take(NOW, [incoming(body), incoming(event(3))])
  const told = answered(first)
  assert.equal(told.status, 207)
  const { events } = told.body as { events: { status: string }[] }
  assert.deepEqual(
    events.map(({ status }) => status),
    ['accepted', 'duplicate', 'refused', 'accepted'],
  )
  assert.equal((answered(second).body as { duplicate: number }).duplicate, 1)
  const items = arrived(core)
  assert.deepEqual(
    items.map((item) => ('event' in item ? item.event['n'] : undefined)),
    [1, 3],
  )
  assert.deepEqual([items[0]?.tenant, items[0]?.road, items[0]?.at], ['a', 'http', NOW * 1000 + 7])
  checkSum(core)
})

test('EventsCore keeps what is no event as a letter on Kafka REST, once, without what is personal', () => {
  const core = new EventsCore(new MemoryFiles(), OPTIONS)
  const body = JSON.stringify({
    records: [{ value: { prompt: 'secret' } }, { value: ['my prompt'] }, { value: event(5) }],
  })
  const kafka = (): IncomingEvents => incoming(body, { door: 'kafka_rest', format: 'kafka_json', topic: 'xumi_task' })
  const offsets = (outcome: Outcome<Answered> | undefined): number[] =>
    (answered(outcome).body as { offsets: { offset: number }[] }).offsets.map(({ offset }) => offset)
  const [first] = core.take(NOW, [kafka()])
  assert.deepEqual(offsets(first), [0, 1, 2])
  const [again] = core.take(NOW + 1, [kafka()])
  assert.deepEqual(offsets(again), [0, 1, 2], 'a repeat has the offsets of the first')
  const items = arrived(core)
  assert.equal(items.length, 3)
  const raws = items.flatMap((item) => ('dead' in item ? [Buffer.from(item.dead.raw, 'base64').toString()] : []))
  assert.match(raws[0]!, /^\{"prompt":\{"length":6,"sha256":"/)
  assert.match(raws[1]!, /^\{"length":\d+,"sha256":"/)
  checkSum(core)
})

test('EventsCore: an event may name only a tenant that its sender reaches; on Kafka REST it is a letter of his own', () => {
  const core = new EventsCore(new MemoryFiles(), OPTIONS)
  const grant = { who: 'a key', tenant: 'a', tenants: ['b'], allowedBy: 'nobody' }
  const one = (tenant_id: string): object => event(1, { tenant_id })
  const record = JSON.stringify({ records: [{ value: one('c') }] })
  const [b, c] = core.take(NOW, [
    incoming(one('b'), { grant }),
    incoming(one('c'), { grant }),
    incoming(record, { grant, door: 'kafka_rest', format: 'kafka_json', topic: 'xumi_task' }),
  ])
  assert.equal(answered(b).status, 200)
  assert.equal(answered(c).status, 422)
  assert.deepEqual(
    arrived(core).map((item) => [item.tenant, 'dead' in item ? item.dead.code : 'event']),
    [
      ['b', 'event'],
      ['a', 'unknown_tenant'],
    ],
  )
})

test('EventsCore: events name so many tenants and no more, those of the configuration besides', () => {
  const core = new EventsCore(new MemoryFiles(), OPTIONS)
  const grant = { who: 'a key', tenant: 'a', tenants: ['b', '*'], allowedBy: 'nobody' }
  const named = ['x', 'y', 'z', 'x', 'a', 'b'].map((tenant_id, i) => event(i, { tenant_id }))
  // One that is refused for another reason is none.
  const [first, all] = core.take(NOW, [
    incoming([event(9, { tenant_id: 'w', event_type: '?' })], { grant, tenantsMax: 2 }),
    incoming(named, { grant, tenantsMax: 2 }),
  ])
  assert.equal(answered(first).status, 422)
  const told = (answered(all).body as { events: { status: string; errors?: { field: string; message: string }[] }[] })
    .events
  assert.deepEqual(
    told.map(({ status }) => status),
    ['accepted', 'accepted', 'refused', 'accepted', 'accepted', 'accepted'],
  )
  assert.deepEqual(told[2]!.errors?.[0], {
    field: 'tenant_id',
    code: 'unknown_tenant',
    message: '"z" would be one tenant more than this collector takes: raise collector.tenants_max',
  })
})

test('EventsCore: a sync that fails acknowledges nothing, and what was appended goes on and is counted', () => {
  const files = new MemoryFiles()
  const core = new EventsCore(files, OPTIONS)
  core.take(NOW, [incoming(event(1))])
  files.nextSync = 'io'
  const [failed] = core.take(NOW, [incoming(event(2))])
  assert.equal(failed?.kind, 'retry')
  assert.match(core.state ?? '', /sync/)
  const [again] = core.take(NOW, [incoming(event(2))])
  assert.deepEqual((answered(again).body as { events: unknown[] }).events, [{ event_id: uuid(2), status: 'accepted' }])
  assert.equal(byIdentity(arrived(core)).size, 2)
  checkSum(core)
})

test('EventsCore answers any bytes in any format with a status of the contract, and the sum holds', () => {
  const random = new Random(testSeed())
  const core = new EventsCore(new MemoryFiles(), OPTIONS)
  const record = { key: 'k', value: { type: 'JSON', data: event(1) } }
  const whole = [
    JSON.stringify([event(1), event(2)]),
    JSON.stringify({ records: [{ value: event(3) }, { value: 'eyJhIjoxfQ==' }, { value: null, partition: -1 }] }),
    JSON.stringify(record) + JSON.stringify(record),
    JSON.stringify({ entries: [{ id: '1', ...record }] }),
    JSON.stringify([{ specversion: '1.0', id: '1', source: 's', type: 'a.b.c', time: 'x', data_base64: 'AA==' }]),
    `${'['.repeat(5000)}${']'.repeat(5000)}`,
    `{"event_type":"a.b.c","timestamp":"2026-01-31T12:00:00Z","x":${'['.repeat(5000)}${']'.repeat(5000)}}`,
    `[${'{},'.repeat(200)}{}]`,
    '"text"',
    'null',
    '',
  ]
  const statuses = new Set<number>()
  for (let n = 0; n < 4000; n++) {
    const body = Buffer.from(random.pick(whole))
    for (let flips = random.between(0, 3); flips > 0 && body.length > 0; flips--)
      body[random.between(0, body.length - 1)] = random.between(0, 255)
    const format = random.pick(FORMATS)
    const door = format.startsWith('kafka') ? 'kafka_rest' : 'events'
    const cut = body.subarray(0, random.chance(0.3) ? random.between(0, body.length) : body.length)
    const [outcome] = core.take(NOW + n, [{ ...incoming(''), format, door, body: cut, gzip: random.chance(0.1) }])
    if (outcome?.kind !== 'ok')
      assert.equal(outcome?.kind, 'retry', 'the journal is full') // of letters
    else {
      JSON.parse(format === 'kafka_v3' ? outcome.value.text.split('\r\n')[0]! : outcome.value.text)
      statuses.add(outcome.value.status)
    }
    checkSum(core)
  }
  assert.deepEqual([...statuses].sort(), [200, 207, 400, 413, 422])
})

test('every acknowledged event arrives through any history, and the sum holds', () => {
  const seed = testSeed()
  for (let history = 0; history < 200; history++) historyOf(new Random(seed + history), `seed ${seed + history}`)
})

function historyOf(random: Random, name: string): void {
  const files = new MemoryFiles()
  let core = new EventsCore(files, OPTIONS)
  let now = NOW
  const acknowledged = new Set<string>()
  const items: ReceivedItem[] = []
  let stored: { from: number; to: number }[] = []
  const tick = (roomBatches: number): void => {
    const batches = core.tick({ ...ALL, roomBatches, now, monotonic: now, stored })
    stored = []
    for (const { from, to, bytes } of batches) {
      if (random.chance(0.3)) continue // on its way when something happens
      items.push(...decodeEventBatch(bytes).items)
      if (random.chance(0.8)) stored.push({ from, to })
    }
  }
  for (let step = 0; step < 60; step++) {
    now += random.between(0, 800)
    const what = random.between(0, 9)
    if (what === 0) {
      core = new EventsCore(files, OPTIONS) // killed: what was written is there
      stored = []
    } else if (what === 1) {
      core.rewind(core.snapshot().cursor)
      stored = []
    } else if (what <= 4) tick(random.between(0, 3))
    else {
      if (random.chance(0.2)) files.nextAppend = random.pick(['full', 'short', 'short and stuck', 'io'])
      if (random.chance(0.1)) files.nextSync = 'io'
      const ids = Array.from({ length: random.between(1, 5) }, () => random.between(1, 40))
      const [outcome] = core.take(now, [incoming(ids.map((n) => event(n)))])
      if (outcome?.kind === 'ok') for (const n of ids) acknowledged.add(`a ${uuid(n)}`)
    }
    checkSum(core)
  }
  core = new EventsCore(files, OPTIONS)
  for (let left = 20; left > 0; left--) items.push(...arrived(core, now + 1000 * (21 - left)))
  const there = byIdentity(items)
  const lost = [...acknowledged].filter((id) => !there.has(id))
  assert.deepEqual(lost, [], name)
}
