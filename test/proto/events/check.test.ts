import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CATALOGUE, TOPICS } from '../../../proto/events/catalogue.ts'
import type { CheckContext, Fault } from '../../../proto/events/check.ts'
import { checkEvent } from '../../../proto/events/check.ts'
import type { FleetEvent } from '../../../proto/events/event.ts'
import { PersonalPolicy } from '../../../proto/events/personal.ts'
import { seedEvents } from '../../support/seed-events.ts'

const NOW = Date.parse('2026-02-01T00:00:00Z')
const TENANT = 'team-a'
const NODE = '0b6e1a52-58cb-4a4f-9d39-3a2c1d1fc001'
const CONTEXT: CheckContext = {
  tenant: TENANT,
  choose: (asked) => (asked === 'team-b' ? { tenant: asked } : { reason: `no way to ${asked}` }),
  newest: NOW,
  personal: new PersonalPolicy([]),
}
const START = {
  event_type: 'xumi.generation.start',
  timestamp: '2026-01-31T12:00:00Z',
  model: 'xumi:3',
  task_id: '6f9619ff-8b86-4011-b42d-00c04fc964ff',
}

function event(raw: object, context: Partial<CheckContext> = {}): FleetEvent {
  const checked = checkEvent(raw, { ...CONTEXT, ...context })
  assert.ok('event' in checked, JSON.stringify(checked))
  return checked.event
}

function faults(raw: unknown, context: Partial<CheckContext> = {}): readonly Fault[] {
  const checked = checkEvent(raw, { ...CONTEXT, ...context })
  assert.ok('faults' in checked, JSON.stringify(checked))
  return checked.faults
}

const told = (found: readonly Fault[]): string[] => found.map(({ field, code }) => `${field} ${code}`)

test('checkEvent() takes every event of the seed as its tables give them, on its topic', () => {
  for (const [type, raw] of seedEvents()) {
    const checked = checkEvent(raw, CONTEXT)
    assert.ok('event' in checked, `${type}: ${JSON.stringify(checked)}`)
    assert.equal(checked.topic, CATALOGUE.get(type)?.topic)
    assert.equal(checked.coerced, 0, type)
  }
  assert.equal(seedEvents().length, CATALOGUE.size)
  assert.equal(TOPICS.length, 13)
})

test('checkEvent() fills in the envelope', () => {
  const { event_id, ...rest } = event(START)
  assert.match(event_id, /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  assert.deepEqual(rest, {
    ...START,
    timestamp: '2026-01-31T12:00:00.000Z',
    tenant_id: TENANT,
    source: '',
    version: '1.0',
  })
})

test('checkEvent() reads times with an offset, without a zone, and takes created for a missing timestamp', () => {
  const time = (raw: object): string => event({ ...START, ...raw }).timestamp
  assert.equal(time({ timestamp: '2026-01-31T14:00:00.1239+02:00' }), '2026-01-31T12:00:00.123Z')
  assert.equal(time({ timestamp: '2026-01-31T12:00:00.1234567' }), '2026-01-31T12:00:00.123Z')
  assert.equal(time({ timestamp: undefined, created: '2026-01-31 11:00:00' }), '2026-01-31T11:00:00.000Z')
  assert.equal(event({ ...START, created: '2026-01-31T11:00:00+01:00' })['created'], '2026-01-31T10:00:00.000Z')
  assert.deepEqual(told(faults({ ...START, timestamp: undefined })), ['timestamp missing_field'])
  assert.deepEqual(told(faults({ ...START, timestamp: undefined, created: 'soon' })), ['created wrong_type'])
  assert.deepEqual(told(faults({ event_type: 'a.b.c', created: 'soon' })), ['created wrong_type'])
  assert.deepEqual(told(faults({ ...START, timestamp: '2026-02-01T00:00:00.001Z' })), ['timestamp too_new'])
  assert.deepEqual(told(faults({ ...START, timestamp: '1969-12-31T00:00:00Z' })), ['timestamp too_old'])
  assert.deepEqual(told(faults({ ...START, timestamp: 1769860800 })), ['timestamp wrong_type'])
  const fallbackTime = NOW - 5
  assert.equal(event({ ...START, timestamp: undefined }, { fallbackTime }).timestamp, '2026-01-31T23:59:59.995Z')
})

test("checkEvent() takes the seed's spellings, and the names TaskCompleted and TaskFailed", () => {
  const id = '6f9619ff-8b86-4011-b42d-00c04fc964ff'
  const deploy = { event_type: 'kuber.deploy.start.complete', created: START.timestamp, action: 'start', result: true }
  const read = event({ ...deploy, resource_Id: id.toUpperCase(), prevision_event_id: id })
  assert.equal(read['resource_id'], id)
  assert.equal(read['previous_event_id'], id)
  assert.ok(!('resource_Id' in read))
  const access = { event_type: 'assets.access.read', created: START.timestamp, resource_url: 's3://a', result: true }
  assert.equal(event({ ...access, IP: '10.0.0.1' })['ip'], '10.0.0.1')
  assert.equal(event({ ...access, IP: 'kept', ip: '10.0.0.2' })['IP'], 'kept')
  assert.equal(event({ ...START, event_type: 'TaskCompleted' }).event_type, 'workflow.task.complete')
  assert.equal(event({ ...START, event_type: 'TaskFailed' }).event_type, 'workflow.task.fail')
})

test('checkEvent() coerces what is unambiguous, counts it, and refuses the rest by field', () => {
  const raw = {
    event_type: 'xumi.weights.load.complete',
    timestamp: START.timestamp,
    model: 'm',
    result: 'True',
    speed: '1.5e3',
    size: ' 12 ',
  }
  const checked = checkEvent(raw, CONTEXT)
  assert.ok('event' in checked)
  assert.equal(checked.coerced, 3)
  const { result, speed, size } = checked.event
  assert.deepEqual({ result, speed, size }, { result: true, speed: 1500, size: 12 })
  const bad = {
    ...raw,
    result: 'yes',
    speed: '1,5',
    size: '0x10',
    model: ['m'],
    origin_event_id: 'x',
    tags: [1],
    metadata: 7,
  }
  assert.deepEqual(told(faults(bad)).sort(), [
    'metadata wrong_type',
    'model wrong_type',
    'origin_event_id wrong_type',
    'result wrong_type',
    'size wrong_type',
    'speed wrong_type',
    'tags wrong_type',
  ])
  assert.deepEqual(told(faults({ ...START, task_id: null, model: undefined })), [
    'model missing_field',
    'task_id missing_field',
  ])
})

test('checkEvent() takes well named unknown types with all their fields, whatever they are called', () => {
  const raw = JSON.parse(
    '{"event_type":"new.thing.done","timestamp":"2026-01-31T12:00:00Z","__proto__":{"a":1},"constructor":null,"deep":{"x":[1]}}',
  )
  const read = event(raw)
  assert.deepEqual(JSON.parse(JSON.stringify(read))['deep'], { x: [1] })
  assert.ok(JSON.stringify(read).includes('"__proto__":{"a":1}'))
  assert.equal(Object.getPrototypeOf(read), Object.prototype)
  for (const bad of ['New.thing.done', 'new.thing', 'a.b.c.d.e', 'a..b', 'a.b-c.d', 7, {}, `a.b.${'c'.repeat(300)}`])
    assert.deepEqual(told(faults({ ...raw, event_type: bad })), ['event_type bad_name'], String(bad))
  assert.deepEqual(told(faults({ ...START, x: nested(40) })), ['x too_deep'])
  assert.deepEqual(told(faults({ ...START, metadata: nested(40) })), ['metadata too_deep'])
})

test('checkEvent() lets an event name only a tenant that its caller reaches', () => {
  assert.equal(event({ ...START, tenant_id: 'team-b' }).tenant_id, 'team-b')
  assert.equal(event({ ...START, tenant_id: null }).tenant_id, TENANT)
  const [fault] = faults({ ...START, tenant_id: 'team-c' })
  assert.equal(fault?.code, 'unknown_tenant')
  assert.equal(fault?.message, 'no way to team-c')
})

test('checkEvent() derives the same id of the same event, however it is written, and another of another', () => {
  const raw = { ...START, metadata: { a: 1, b: [2] }, prompt: 'a cat' }
  const { event_id } = event(raw)
  const reversed = Object.fromEntries(Object.entries({ ...raw, metadata: { b: [2], a: 1 } }).reverse())
  assert.equal(event(reversed).event_id, event_id)
  assert.equal(event({ ...raw, timestamp: '2026-01-31T13:00:00+01:00' }).event_id, event_id)
  assert.equal(event(raw, { personal: new PersonalPolicy(['*:prompt=drop']) }).event_id, event_id, 'of personal data')
  const node = { node_id: NODE, vm_type: 'NV6', host_name: 'h', storage_size: 5, storage_type: 'ssd' }
  assert.equal(event(raw, { node }).event_id, event_id, "of the node's own fields")
  assert.notEqual(event({ ...raw, prompt: 'a dog' }).event_id, event_id)
})

test('checkEvent() adds what the node knows of itself, to its own events of the types that have it', () => {
  const node = { node_id: NODE, vm_type: 'NV6', host_name: 'host-1', storage_size: 5, storage_type: '' }
  const filled = event({ ...START, host_name: 'mine' }, { node })
  assert.deepEqual(
    [filled['node_id'], filled['vm_type'], filled['host_name'], filled['storage_size']],
    [NODE, 'NV6', 'mine', 5],
  )
  assert.ok(!('storage_type' in filled))
  const other = event({ ...START, node_id: START.task_id }, { node })
  assert.equal(other['vm_type'], undefined)
  assert.equal(event({ event_type: 'pbac.agent.start', timestamp: START.timestamp }, { node })['vm_type'], undefined)
})

test('checkEvent() keeps of personal data what the tenant of the event has chosen', () => {
  const personal = new PersonalPolicy(['*:prompt=digest', 'team-b:prompt=whole', '*:user=drop', '*:ip=digest'])
  const raw = { ...START, prompt: 'ü', user: { name: 'Ada' }, IP: '10.0.0.1' }
  const kept = event(raw, { personal })
  assert.deepEqual(kept['prompt'], {
    length: 2,
    sha256: '607474ca475a9724d7360aba71a56d5df77e61350e3f724cfa1f46e857e2d85f',
  })
  assert.ok(!('user' in kept))
  assert.equal((kept['ip'] as { length: number }).length, 8)
  assert.deepEqual(event(kept, { personal })['prompt'], kept['prompt'], 'it may go through twice')
  const whole = event({ ...raw, tenant_id: 'team-b' }, { personal })
  assert.equal(whole['prompt'], 'ü')
  assert.ok(!('user' in whole))
})

test('checkEvent() quotes nothing personal', () => {
  const [fault] = faults({
    event_type: 'assets.access.read',
    timestamp: START.timestamp,
    resource_url: ['secret'],
    result: true,
  })
  assert.equal(fault?.message, 'expected text, got a list')
})

test('checkEvent() answers an event or faults for any JSON, and an event goes through again unchanged', () => {
  const names = ['event_type', 'timestamp', 'tenant_id', 'task_id', 'tags', 'user', 'result', '__proto__', 'x']
  const values = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom('xumi.generation.complete', 'a.b.c', 'true', '12', 'team-b', START.timestamp, START.task_id),
  )
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...names), values), (raw) => {
      const checked = checkEvent(JSON.parse(JSON.stringify(raw)), CONTEXT)
      if ('faults' in checked) return checked.faults.length > 0
      const again = checkEvent(JSON.parse(JSON.stringify(checked.event)), CONTEXT)
      assert.ok('event' in again)
      assert.deepEqual(JSON.stringify(again.event), JSON.stringify(checked.event))
      return true
    }),
    { numRuns: 3000 },
  )
})

function nested(depth: number): unknown {
  return depth === 0 ? 1 : { a: nested(depth - 1) }
}
