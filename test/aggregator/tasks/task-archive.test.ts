/** Tasks that have left memory, on the real engine: what comes back is what the newest row had, by name, by node and by time. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { RecordStore } from '../../../aggregator/store/record-store.ts'
import { migrate } from '../../../aggregator/store/schema/migrate.ts'
import { StoredTasks } from '../../../aggregator/tasks/task-archive.ts'
import type { LedgerMemory, SweepPlace } from '../../../aggregator/tasks/task-decision.ts'
import { engineOfFile } from '../../support/engine.ts'
import { put, startRecordStore, taskRow } from '../../support/task-rows.ts'

const engine = engineOfFile()
const DATABASE = 'archive'
const T = Date.UTC(2026, 0, 31, 12)
let store: RecordStore
let archive: StoredTasks

after(() => store.stop(AbortSignal.timeout(5000)))

const memory = (taskId: string, dropped = false): LedgerMemory => ({
  ...{ tenant: 't', taskId, signals: [], dropped, stages: [], accounts: [] },
})

test('the store and its rows are there', async () => {
  await migrate(engine.db, DATABASE, { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  store = await startRecordStore(engine.db, DATABASE)
  archive = new StoredTasks(engine.db, DATABASE, () => 7)
  const row = (id: string, from: number, to: number, fields = {}, of: LedgerMemory | null = memory(id)) =>
    taskRow(
      id,
      { tenant: 't', nodeId: 'n', started: from === 0 ? 0 : T + from, ended: to === 0 ? 0 : T + to, ...fields },
      { memory: of },
    )
  put(store, {
    tasks: [
      row('a', 1000, 2000),
      row("it's", 3000, 4000),
      row('runs', 3500, 0),
      row('queued', 0, 0),
      row('elsewhere', 1000, 9000, { nodeId: 'm' }),
      row('theirs', 1000, 9000, { tenant: 'u' }),
      // What was known first is not what is known now, in whatever attempt that stands.
      row('twice', 1000, 2000, {}, memory('twice')),
      row('twice', 5000, 6000, { attempt: 2 }, memory('twice', true)),
      // It was thought to have been there, and was void in the end.
      row('void', 1000, 2000),
      row('void', 0, 0, { state: 'void', nodeId: '' }, null),
    ],
  })
  await store.settled()
})

test('StoredTasks.load() gives the newest memory of a task, of the tenant', async () => {
  assert.deepEqual(await archive.load('t', 'a'), memory('a'))
  assert.deepEqual(await archive.load('t', "it's"), memory("it's"))
  assert.deepEqual(await archive.load('t', 'twice'), memory('twice', true))
  assert.equal(await archive.load('t', 'theirs'), undefined)
  assert.equal(await archive.load('t', 'never'), undefined)
  assert.equal(await archive.load('t', 'void'), undefined)
})

test('StoredTasks.onNode() gives who was there at some time in it, each once', async () => {
  const found = async (from: number, to: number, node = 'n'): Promise<string[]> =>
    (await archive.onNode('t', node, T + from, to === Number.POSITIVE_INFINITY ? to : T + to))
      .map((m) => m.taskId)
      .sort()
  assert.deepEqual(await found(0, 1000), [])
  assert.deepEqual(await found(0, 1001), ['a', 'twice'])
  assert.deepEqual(await found(2000, 3000), [])
  assert.deepEqual(await found(1999, 3001), ['a', "it's", 'twice'])
  assert.deepEqual(await found(8000, Number.POSITIVE_INFINITY), ['runs'])
  assert.deepEqual(await found(0, Number.POSITIVE_INFINITY, 'm'), ['elsewhere'])
  assert.deepEqual(await found(0, Number.POSITIVE_INFINITY, "n' OR 1=1 --"), [])
})

test('StoredTasks.after() gives attempts that were there after a time, in their order and behind a place', async () => {
  const found = async (place: SweepPlace, since: number, max = 100): Promise<string[]> => {
    const rows = await archive.after(place, T + since, max)
    if (max === 100) assert.equal(await archive.countAfter(place, T + since), rows.length)
    return rows.map(({ tenant, taskId, attempt }) => `${tenant} ${taskId} ${attempt}`)
  }
  const all = ['t a 1', 't elsewhere 1', "t it's 1", 't queued 1', 't runs 1', 't twice 1', 't twice 2', 'u theirs 1']
  assert.deepEqual(await found(['', '', 0], 0), all)
  assert.deepEqual(await found(['', '', 0], 0, 2), all.slice(0, 2))
  assert.deepEqual(await found(['t', "it's", 1], 0), all.slice(3))
  assert.deepEqual(await found(['t', 'twice', 1], 0), all.slice(6))
  assert.deepEqual(
    await found(['', '', 0], 4500),
    ['t elsewhere 1', 't queued 1', 't runs 1', 't twice 2', 'u theirs 1'],
    'those that go on are there',
  )
  const [first] = await archive.after(['', '', 0], T, 1)
  assert.deepEqual(first, { tenant: 't', taskId: 'a', attempt: 1, userId: '', names: ['n'], to: T + 2000 })
  const loaded = await archive.loadAll('t', ['a', 'theirs', 'twice'])
  assert.deepEqual(loaded.map(({ taskId }) => taskId).sort(), ['a', 'twice'])
})

test('StoredTasks.isStored() follows what the store says', () => {
  assert.deepEqual(
    [7, 8].map((n) => archive.isStored(n)),
    [true, false],
  )
})
