/** What a snapshot answers: who a user belongs to, which machine a name means; and that it never changes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Entry, EntryKind, EntryRecord } from '../../../aggregator/directory/entry.ts'
import { EntryIds } from '../../../aggregator/directory/entry-ids.ts'
import { EntryTable } from '../../../aggregator/directory/entry-table.ts'
import type { Membership } from '../../../aggregator/directory/membership.ts'
import { membershipKey, memberships } from '../../../aggregator/directory/membership.ts'
import type { NodeRecord } from '../../../aggregator/directory/node-entry.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'

const ids = new EntryIds()
const day = (n: number): string => new Date(Date.UTC(2026, 0, n)).toISOString()
const AT = Date.UTC(2026, 0, 10)
const HEAD = { version: 1, tenant: 'a', valid_from: day(1), valid_to: null, changed_at: day(1) }

function member(more: Partial<Membership>): Membership {
  return { ...HEAD, id: ids.next(AT), user_id: 'u', project: 'p', department: 'd', is_default: false, ...more }
}

function node(more: Partial<NodeRecord>): NodeRecord {
  const names = { node_id: null, host_name: null, kubernetes_node: null, instances: [] }
  const what = { vm_type: null, gpu_model: null, gpu_count: null, source: 'explicit' as const }
  return { ...HEAD, id: ids.next(AT), ...names, ...what, ...more }
}

function snapshotOf(kind: EntryKind, ...records: readonly EntryRecord[]): Promise<DirectorySnapshot> {
  return new DirectorySnapshot().with(
    1,
    records.map((record) => ({ kind, record })),
  )
}

test('attribute() takes the only membership of that time, and says so', async () => {
  const snapshot = await snapshotOf(
    'membership',
    member({ project: 'old', valid_to: day(5) }),
    member({ project: 'new', department: 'x', valid_from: day(5) }),
    member({ project: 'elsewhere', tenant: 'b' }),
  )
  const of = (at: number): unknown => snapshot.attribute({ tenant: 'a', userId: 'u', at }).project
  assert.deepEqual([of(Date.parse(day(5)) - 1), of(Date.parse(day(5))), of(0)], ['old', 'new', null])
  const { how, department } = snapshot.attribute({ tenant: 'a', userId: 'u', at: AT })
  assert.equal(department, 'x')
  assert.deepEqual(
    { ...how, membership: typeof how.membership },
    {
      project: 'membership',
      department: 'membership',
      membership: 'string',
      chosen: 'only',
      memberships: 1,
    },
  )
  assert.equal(snapshot.attribute({ tenant: 'a', userId: undefined, at: AT }).how.project, 'none')
})

test('attribute(): of several projects the default, else the latest, else the first by name', async () => {
  const several = [member({ project: 'b' }), member({ project: 'a' }), member({ project: 'late', valid_from: day(2) })]
  const of = async (...records: Membership[]): Promise<unknown> => {
    const { project, how } = (await snapshotOf('membership', ...records)).attribute({
      tenant: 'a',
      userId: 'u',
      at: AT,
    })
    return [project, how.chosen, how.memberships]
  }
  assert.deepEqual(await of(...several), ['late', 'latest', 3])
  assert.deepEqual(await of(...several.slice(0, 2)), ['a', 'latest', 2])
  assert.deepEqual(await of(...several, member({ project: 'main', is_default: true })), ['main', 'default', 4])
})

test('attribute(): tags win field by field, and a named project brings its own department', async () => {
  const snapshot = await snapshotOf(
    'membership',
    member({ project: 'p', department: 'd' }),
    member({ project: 'q', department: 'e' }),
  )
  const of = (tags: Record<string, string>): unknown => {
    const { project, department, costCenter, how } = snapshot.attribute({ tenant: 'a', userId: 'u', at: AT, tags })
    return [project, department, costCenter, how.project, how.department, how.chosen]
  }
  assert.deepEqual(of({ project: 'p' }), ['p', 'd', null, 'tag', 'membership', 'tag'])
  assert.deepEqual(of({ project: 'unknown' }), ['unknown', null, null, 'tag', 'none', null])
  assert.deepEqual(of({ project: 'p', department: 'z', cost_center: '7' }), ['p', 'z', '7', 'tag', 'tag', 'tag'])
  assert.deepEqual(of({ project: '' }), of({}), 'an empty tag says nothing')
})

test('nodeOf() finds a machine by any of its names, at its time', async () => {
  const named = { node_id: 'id-1', host_name: 'Host-1', kubernetes_node: 'k8s-1', instances: ['10.0.0.1'] }
  const snapshot = await snapshotOf(
    'node',
    node({ ...named, vm_type: 'big', valid_to: day(20) }),
    node({ node_id: 'id-2', host_name: 'host-1', valid_from: day(20) }),
    node({ tenant: '*', host_name: 'shared', vm_type: 'all' }),
    node({ tenant: 'a', host_name: 'shared', vm_type: 'learnt', source: 'observed' }),
    node({ tenant: 'b', host_name: 'theirs' }),
  )
  for (const name of ['id-1', 'host-1', 'HOST-1', 'K8S-1', '10.0.0.1', '10.0.0.1:9400'])
    assert.equal(snapshot.nodeOf('a', name, AT)?.vm_type, 'big', name)
  assert.equal(snapshot.nodeOf('a', 'host-1', Date.parse(day(20)))?.node_id, 'id-2')
  assert.equal(snapshot.nodeOf('a', 'shared', AT)?.vm_type, 'all', 'what somebody said wins over what was learnt')
  assert.equal(snapshot.nodeOf('a', 'theirs', AT), undefined)
  assert.equal(snapshot.nodeOf('a', 'nobody', AT), undefined)
})

test('EntryTable.with() is as a map is, and leaves the table before as it was', async () => {
  const pool = Array.from({ length: 30 }, (_, i) => ids.next(AT + i))
  const change = fc.record({ id: fc.constantFrom(...pool), user: fc.constantFrom('u', 'v', 'w') })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(change, { maxLength: 5 }), { maxLength: 10 }), async (rounds) => {
      let table = new EntryTable<Membership>(memberships)
      const model = new Map<string, Membership>()
      for (const round of rounds) {
        const before = table
        const listed = [...before.all]
        const under = before.under(membershipKey('a', 'u'))
        const records = round.map(({ id, user }) => member({ id, user_id: user }))
        for (const record of records) model.set(record.id, record)
        table = await before.with(records)
        assert.deepEqual([...before.all], listed)
        assert.deepEqual(before.under(membershipKey('a', 'u')), under)
      }
      const inOrder = [...model.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
      const recordsOf = (entries: readonly Entry<Membership>[]): Membership[] => entries.map(({ record }) => record)
      assert.deepEqual(recordsOf(table.all), inOrder)
      for (const user of ['u', 'v', 'w'])
        assert.deepEqual(
          new Set(recordsOf(table.under(membershipKey('a', user)))),
          new Set(inOrder.filter(({ user_id }) => user_id === user)),
        )
      for (const id of pool) assert.equal(table.get(id)?.record, model.get(id))
    }),
  )
})

test('EntryIds.next() grows, also when the clock goes back or stands still', () => {
  const own = new EntryIds()
  const made = [5, 5, 4, ...Array.from({ length: 10_000 }, () => 5), 6].map((now) => own.next(now))
  assert.deepEqual([...made].sort(), made)
  assert.equal(new Set(made).size, made.length)
  for (const id of made.slice(0, 100))
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})
