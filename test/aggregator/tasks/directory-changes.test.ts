/** A change of the directories touches the figures that it may change, and no others. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KindRecord } from '../../../aggregator/directory/snapshot.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import type { Account } from '../../../aggregator/tasks/accounts.ts'
import { DirectoryChanges } from '../../../aggregator/tasks/directory-changes.ts'
import type { TaskFacts } from '../../../aggregator/tasks/signal.ts'
import type { TaskRecord } from '../../../aggregator/tasks/task-record.ts'

const at = (seconds: number): string => new Date(seconds * 1000).toISOString()
const FACTS: TaskFacts = { userId: 'u', nodeId: 'N-1', hostName: 'h' }
/** It ran from 100 to 200 s, and was calculated by version 5. */
const ACCOUNT: Account = {
  key: { tenant: 't', taskId: 'a', attempt: 1 },
  ...{ n: 1, upTo: 1, final: true, directory: 5, node: 'N-1', from: 100_000, to: 200_000 },
  counted: { version: 1, amounts: [] },
}

const entry = { id: 'e', version: 6, tenant: 't', changed_at: at(0), valid_from: at(0), valid_to: null }
const member = { project: 'p', department: null, is_default: false }
const node = {
  ...{ node_id: null, host_name: null, kubernetes_node: null, instances: [] },
  ...{ vm_type: null, gpu_model: null, gpu_count: null, source: 'explicit' },
}
const price = {
  ...{ resource: 'tokens', vm_type: null, gpu_model: null, currency: 'EUR', amount_micros: 1, per: 1 },
  ...{ supersedes: null, superseded_by: null },
}
const of = {
  membership: (fields: object): KindRecord => ({
    kind: 'membership',
    record: { ...entry, ...member, user_id: 'u', ...fields } as KindRecord['record'],
  }),
  node: (fields: object): KindRecord => ({
    kind: 'node',
    record: { ...entry, ...node, ...fields } as KindRecord['record'],
  }),
  price: (fields: object): KindRecord => ({
    kind: 'price',
    record: { ...entry, ...price, ...fields } as KindRecord['record'],
  }),
}

async function touches(change: KindRecord, account: Account = ACCOUNT, facts: TaskFacts | 'unknown' = FACTS) {
  const directory = await new DirectorySnapshot().with(change.record.version, [change])
  const record = { facts } as TaskRecord // nothing else of it is read
  return new DirectoryChanges(directory).touch(account, () => (facts === 'unknown' ? undefined : record))
}

test('an entry about the user, the machine by any of its names, or a price', async () => {
  assert.ok(await touches(of.membership({})))
  assert.ok(!(await touches(of.membership({ user_id: 'another' }))))
  assert.ok(await touches(of.node({ node_id: 'n-1' })))
  assert.ok(await touches(of.node({ node_id: 'x', instances: ['H'] })))
  assert.ok(!(await touches(of.node({ node_id: 'x' }))))
  assert.ok(await touches(of.price({})))
})

test('of its tenant or of all, of its time, and newer than its figures', async () => {
  for (const make of [of.membership, (fields: object) => of.node({ host_name: 'h', ...fields }), of.price]) {
    assert.ok(await touches(make({ tenant: '*' })))
    assert.ok(!(await touches(make({ tenant: 'other' }))))
    assert.ok(!(await touches(make({ version: 5 }))))
    assert.ok(!(await touches(make({ valid_from: at(201) }))))
    assert.ok(await touches(make({ valid_from: at(150) })))
    // One that ended: it may have held before.
    assert.ok(await touches(make({ valid_to: at(50) })))
  }
  const { directory: _, ...never } = ACCOUNT
  assert.ok(!(await touches(of.price({}), never)))
  assert.ok(!(await touches(of.membership({}), ACCOUNT, 'unknown')))
})
