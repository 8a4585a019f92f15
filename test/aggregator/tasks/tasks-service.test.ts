/** The ledger and the service beside it, on a log in memory. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KindRecord } from '../../../aggregator/directory/snapshot.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import type { FleetEvent } from '../../../proto/events/event.ts'
import { event, TENANT } from '../../support/task-events.ts'
import { at, nodeRecord, T0, TaskRig, task, utilization } from '../../support/task-rig.ts'

const slot = T0
const gpu = (taskId: string, seconds: number, busy: number): Record<string, number> => ({
  [`${taskId} gpu_busy_seconds ${slot}`]: busy * 1e6,
  [`${taskId} gpu_seconds ${slot}`]: seconds * 1e6,
  [`${taskId} tasks ${slot}`]: 1,
})

test('a task is calculated at once, provisional, and again when all of its samples are here', async () => {
  const rig = new TaskRig()
  rig.complete = false
  rig.tell(
    event('xumi.generation.start', at(100), task('a')),
    event('xumi.generation.complete', at(200), task('a', { result: true })),
  )
  await rig.settle()
  const key = { tenant: TENANT, taskId: 'a', attempt: 1 }
  assert.deepEqual([rig.ledger.account(key)?.counted.version, rig.ledger.account(key)?.final], [1, false])
  assert.deepEqual(rig.sums(), gpu('a/1', 100, 50))
  rig.complete = true
  rig.series = [utilization(80)]
  await rig.settle()
  assert.deepEqual([rig.ledger.account(key)?.counted.version, rig.ledger.account(key)?.final], [2, true])
  assert.deepEqual(rig.sums(), gpu('a/1', 100, 80))
  await rig.settle()
  assert.equal(rig.decisions('calculated').length, 2)
})

test('a sample that comes late has the figures made again, once', async () => {
  const rig = new TaskRig()
  rig.tell(
    event('xumi.generation.start', at(100), task('a')),
    event('xumi.generation.complete', at(200), task('a', { result: true })),
  )
  await rig.settle()
  await rig.service.lateSamples(TENANT, { hostName: 'n' }, at(400))
  await rig.settle()
  assert.equal(rig.decisions('calculated').length, 1)
  rig.series = [utilization(10)]
  await rig.service.lateSamples(TENANT, { hostName: 'n' }, at(150))
  await rig.settle()
  assert.equal(rig.decisions('calculated').length, 2)
  assert.deepEqual(rig.sums(), gpu('a/1', 100, 10))
  // Also when the task has left memory.
  rig.now = at(7200)
  await rig.service.round()
  assert.equal(rig.ledger.tasks.size, 0)
  rig.series = [utilization(20)]
  await rig.service.lateSamples(TENANT, { hostName: 'n' }, at(150))
  await rig.settle()
  assert.deepEqual(rig.sums(), gpu('a/1', 100, 20))
})

test('a task that becomes known to have shared the GPU makes its neighbour’s figures smaller', async () => {
  const rig = new TaskRig()
  rig.tell(
    event('xumi.generation.start', at(0), task('a')),
    event('xumi.generation.complete', at(100), task('a', { result: true })),
  )
  await rig.settle()
  rig.tell(
    event(
      'xumi.generation.complete',
      at(100),
      task('b', { result: true, start_generation: new Date(at(50)).toISOString() }),
    ),
  )
  await rig.settle()
  assert.deepEqual(rig.sums(), { ...gpu('a/1', 75, 37.5), ...gpu('b/1', 25, 12.5) })
})

test('while samples cannot be read figures wait, and nothing else does', async () => {
  const rig = new TaskRig()
  rig.samplesAway = true
  rig.tell(
    event('xumi.generation.start', at(0), task('a')),
    event('xumi.generation.complete', at(100), task('a', { result: true })),
  )
  await rig.service.round()
  assert.deepEqual([rig.ledger.dirty.length, rig.decisions('calculated').length], [1, 0])
  assert.match(rig.service.health().detail ?? '', /figures of tasks wait: away/)
  rig.samplesAway = false
  rig.now += 2000
  await rig.settle()
  assert.deepEqual([rig.sums(), rig.service.health()], [gpu('a/1', 100, 50), { ready: true }])
})

test('a task without an end is lost when its node is silent for long enough, and not before', async () => {
  const rig = new TaskRig()
  rig.tell(event('xumi.generation.start', at(0), task('a')))
  rig.now = at(7000)
  await rig.settle()
  rig.now = at(8000)
  rig.lastSample = at(7990)
  await rig.settle()
  assert.equal(rig.decisions('lost').length, 0)
  rig.now = at(9000)
  rig.lastSample = at(500)
  await rig.settle()
  assert.deepEqual(
    rig.decisions('lost').map((decision) => decision.what === 'lost' && decision.lost.time),
    [at(500)],
  )
  assert.deepEqual(rig.sums(), gpu('a/1', 500, 250))
})

test('a task that left memory comes back for a late event, and its figures go on from what was counted', async () => {
  const rig = new TaskRig()
  rig.tell(
    event('xumi.generation.start', at(0), task('a')),
    event('xumi.generation.complete', at(100), task('a', { result: true })),
  )
  await rig.settle()
  rig.now = at(7200)
  await rig.service.round()
  assert.equal(rig.ledger.tasks.size, 0)
  rig.tell(event('workflow.task.complete', at(110), task('a')), event('xumi.generation.start', at(50), task('new')))
  assert.equal(rig.ledger.waiting.length, 2)
  rig.restart(undefined)
  rig.now = at(200)
  await rig.settle()
  assert.equal(rig.ledger.account({ tenant: TENANT, taskId: 'a', attempt: 1 })?.counted.version, 2)
  // The new one is there from 50 s on, so that each has half from then on; it goes on until now.
  assert.deepEqual(rig.sums(), { ...gpu('a/1', 80, 40), ...gpu('new/1', 120, 60) })
})

test('a task stays in memory when something of it was logged that its row does not have', async () => {
  const rig = new TaskRig()
  rig.tell(event('xumi.generation.start', at(0), task('a')))
  rig.tell(event('xumi.generation.complete', at(100), task('a', { result: true })))
  await rig.settle()
  const [going] = rig.ledger.leaving(at(7200), () => true)
  assert.equal(going?.taskId, 'a')
  rig.tell(event('workflow.task.fail', at(110), task('a')))
  rig.decide({ what: 'left', taskId: 'a', upTo: going.upTo })
  await rig.settle()
  rig.decide({ what: 'left', taskId: 'a', upTo: going.upTo })
  assert.equal(rig.ledger.tasks.record({ tenant: TENANT, taskId: 'a', attempt: 1 })?.state, 'failed')
})

const started = (id: string, from: number, fields = {}): FleetEvent =>
  event('xumi.generation.start', at(from), task(id, fields))
const ended = (id: string, to: number, fields = {}): FleetEvent =>
  event('xumi.generation.complete', at(to), task(id, { result: true, ...fields }))

test('in a crowd no task has figures, and each says so; they have some again when it was none', async () => {
  const rig = new TaskRig(3)
  for (const id of ['a', 'b', 'c']) rig.tell(started(id, 0), ended(id, 300))
  await rig.settle()
  const alone = rig.sums()
  assert.equal(alone[`a/1 gpu_seconds ${slot}`], 100e6)
  // Told of late, and there at once with them only at the end.
  rig.tell(started('d', 290), ended('d', 400))
  await rig.settle()
  assert.deepEqual(rig.sums(), {})
  for (const taskId of ['a', 'b', 'c', 'd']) {
    const decision = rig
      .decisions('calculated')
      .findLast((one) => one.what === 'calculated' && one.key.taskId === taskId)
    assert.ok(decision?.what === 'calculated')
    assert.deepEqual(decision.crowded, { from: at(taskId === 'd' ? 290 : 0), to: at(taskId === 'd' ? 400 : 300) })
    assert.equal(decision.calculation, undefined)
    const cost = decision.assessment?.cost
    assert.ok(cost?.micros === null)
    assert.match(cost.detail, /more tasks were on its node at once than can be told apart/)
  }
  // It began when they had ended.
  rig.tell(event('workflow.task.start', at(280), task('d', { node_id: 'other' })))
  await rig.settle()
  assert.deepEqual(Object.fromEntries(Object.entries(rig.sums()).filter(([key]) => !key.startsWith('d'))), alone)
})

test('many tasks that were on a node one after the other are no crowd', async () => {
  const rig = new TaskRig(3)
  rig.tell(started('long', 0, { gpus: ['GPU-0'] }))
  for (let i = 0; i < 10; i++) rig.tell(started(`t${i}`, i * 20), ended(`t${i}`, i * 20 + 20))
  rig.tell(ended('long', 300))
  await rig.settle()
  assert.deepEqual(rig.sums()[`long/1 gpu_seconds ${slot}`], 200e6)
})

test('tasks that call their machine by different names share it, once the directory has them', async () => {
  const rig = new TaskRig()
  const byHost = { node_id: undefined, host_name: 'Other' }
  rig.tell(started('a', 0), ended('a', 100))
  rig.tell(started('b', 0, byHost), ended('b', 100, byHost))
  await rig.settle()
  assert.deepEqual(rig.sums(), { ...gpu('a/1', 100, 50), [`b/1 tasks ${slot}`]: 1 })
  const entry = nodeRecord({ node_id: 'n', host_name: 'other' })
  rig.directory = await rig.directory.with(1, [{ kind: 'node', record: entry }])
  await rig.settle()
  assert.deepEqual(rig.sums(), { ...gpu('a/1', 50, 25), ...gpu('b/1', 50, 25) })
  // Who comes later by the other name makes the others' less, though the ledger alone does not know them for its neighbours.
  rig.tell(started('c', 50, byHost), ended('c', 100, byHost))
  await rig.settle()
  assert.equal(rig.sums()[`a/1 gpu_seconds ${slot}`], 25e6 + Math.floor(50e6 / 3) + 1)
})

test('samples are found by every name that the directory has for the machine at that time', async () => {
  const rig = new TaskRig()
  const since = new Date(at(150)).toISOString()
  const entry = nodeRecord({ node_id: 'inventory-7', instances: ['n:9400', 'n'], valid_from: since })
  rig.tell(started('early', 0, { node_id: 'inventory-7' }), ended('early', 100, { node_id: 'inventory-7' }))
  rig.tell(started('a', 200, { node_id: 'Inventory-7' }), ended('a', 300, { node_id: 'Inventory-7' }))
  await rig.settle()
  assert.equal(rig.sums()[`a/1 gpu_busy_seconds ${slot}`], undefined)
  rig.directory = await rig.directory.with(1, [{ kind: 'node', record: entry }])
  await rig.settle()
  assert.equal(rig.sums()[`a/1 gpu_busy_seconds ${slot}`], 50e6)
  assert.equal(rig.sums()[`early/1 gpu_busy_seconds ${slot}`], undefined)
})

/** Calculations for tasks that were all on one node at once, told of one by one. */
async function calculationsOf(tasks: number, nodeTasksMax: number): Promise<number> {
  const rig = new TaskRig(nodeTasksMax)
  for (let i = 0; i < tasks; i++) rig.tell(started(`t${i}`, i))
  await rig.settle()
  for (let i = 0; i < tasks; i++) {
    rig.tell(ended(`t${i}`, 1000 + i))
    await rig.service.round()
  }
  await rig.settle()
  return rig.service.counts.calculations
}

test('what a crowd costs does not grow with the square of its number', async () => {
  assert.ok((await calculationsOf(24, 6)) <= 3 * 24)
  // Control: without the bound it does.
  assert.ok((await calculationsOf(24, Number.POSITIVE_INFINITY)) > 24 ** 2 / 4)
})

const member = (user_id: string, version: number, from: number): KindRecord => ({
  kind: 'membership',
  record: {
    ...{
      id: user_id,
      version,
      tenant: TENANT,
      valid_from: new Date(from).toISOString(),
      valid_to: null,
      changed_at: '',
    },
    ...{ user_id, project: 'p', department: 'd', is_default: false },
  } as KindRecord['record'],
})

/** A hundred tasks that have left memory, of two users in turn, one behind the other. */
async function archived(): Promise<TaskRig> {
  const rig = new TaskRig()
  for (let i = 0; i < 150; i++) {
    const id = String(i).padStart(3, '0')
    rig.tell(
      event('workflow.task.start', at(i), task(id, { user_id: `u${i % 2}` })),
      event('workflow.task.complete', at(i + 1), task(id)),
    )
  }
  await rig.settle()
  rig.now = at(100_000)
  await rig.service.round()
  assert.equal(rig.ledger.tasks.size, 0)
  return rig
}

const versions = (rig: TaskRig): number[] =>
  [...rig.rows.values()].map(({ accounts }) => accounts[0]!.counted.version).sort()

test('directories that change make tasks that have left memory anew, those that they are about, and these leave again', async () => {
  const rig = await archived()
  const sums = rig.sums()
  rig.directory = await rig.directory.with(1, [member('u1', 1, at(0))])
  for (let i = 0; i < 4; i++) {
    await rig.service.round()
    rig.now += 30_000
  }
  assert.deepEqual(versions(rig), [...Array(75).fill(1), ...Array(75).fill(2)])
  assert.ok(
    [...rig.rows.values()].every(
      ({ accounts }) => accounts[0]!.counted.owner?.project === (accounts[0]!.counted.version === 2 ? 'p' : ''),
    ),
  )
  assert.deepEqual([rig.ledger.swept, rig.service.sweep.left, rig.ledger.tasks.size], [{ version: 1 }, 0, 0])
  assert.deepEqual(rig.sums(), sums)
  const length = rig.log.length
  await rig.service.round()
  assert.equal(rig.log.length, length, 'nothing is looked at again')
})

test('a sweep that is killed on its way goes on where it was, and each task is made anew once', async () => {
  const rig = await archived()
  rig.directory = await rig.directory.with(1, [member('u0', 1, at(0)), member('u1', 1, at(0))])
  await rig.service.round()
  assert.deepEqual(rig.ledger.swept, { version: 0, goal: 1, after: [TENANT, '063', 1] })
  assert.equal(rig.service.sweep.left, 86)
  rig.restart(undefined)
  const directory = rig.directory
  rig.directory = new DirectorySnapshot() // not read yet
  await rig.service.round()
  assert.notEqual(rig.ledger.swept.goal, undefined)
  rig.directory = directory
  for (let i = 0; i < 5; i++) await rig.service.round()
  assert.deepEqual([rig.ledger.swept, versions(rig)], [{ version: 1 }, Array(150).fill(2)])
})

test('figures whose samples are about to go, and those of before a change, are left as they are', async () => {
  const rig = await archived()
  rig.samplesFrom = at(100)
  rig.directory = await rig.directory.with(1, [member('u1', 1, at(120))])
  for (let i = 0; i < 3; i++) await rig.service.round()
  // 119 ended when it began to hold.
  assert.deepEqual(
    rig.decisions('returned').flatMap((d) => ('taskId' in d ? d.taskId : [])),
    ['119', '121', '123', '125', '127', '129', '131', '133', '135', '137', '139', '141', '143', '145', '147', '149'],
  )
  rig.directory = await rig.directory.with(2, [member('u0', 2, at(0))])
  for (let i = 0; i < 3; i++) await rig.service.round()
  assert.equal(rig.decisions('returned').length, 16 + 25, 'from 100 on')
})
