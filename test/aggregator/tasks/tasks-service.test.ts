/**
 * The ledger and the service beside it, on a log in memory: whatever the order of events, whenever figures are made and however often
 * the aggregator starts again in between, what was counted is in the end what one look at everything gives.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { NodeRecord } from '../../../aggregator/directory/node-entry.ts'
import type { KindRecord } from '../../../aggregator/directory/snapshot.ts'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import type { ArchivedAttempt } from '../../../aggregator/tasks/archive-sweep.ts'
import type { LedgerInput, LedgerMemory, SweepPlace, TaskDecision } from '../../../aggregator/tasks/ledger.ts'
import { TaskLedger } from '../../../aggregator/tasks/ledger.ts'
import { DEFAULT_MAPPING } from '../../../aggregator/tasks/metric-mapping.ts'
import { surestName } from '../../../aggregator/tasks/nodes.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import { SeriesUnavailable } from '../../../aggregator/tasks/series-source.ts'
import { TasksService } from '../../../aggregator/tasks/tasks-service.ts'
import type { FleetEvent } from '../../../proto/events/event.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { event, TENANT } from '../../support/task-events.ts'

const T0 = Date.parse('2026-01-31T12:00:00.000Z')
const at = (seconds: number): number => T0 + seconds * 1000
const task = (taskId: string, fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  task_id: taskId,
  node_id: 'n',
  ...fields,
})

/** A sample every ten seconds, for an hour. */
const utilization = (percent: number): Series => {
  const times = Array.from({ length: 360 }, (_, i) => at(i * 10))
  return {
    name: 'DCGM_FI_DEV_GPU_UTIL',
    labels: { Hostname: 'n', UUID: 'GPU-0', gpu: '0' },
    times,
    values: times.map(() => percent),
  }
}

/** An aggregator's tasks, with a log that survives it. */
class Rig {
  readonly log: string[] = []
  readonly rows = new Map<string, LedgerMemory>()
  directory = new DirectorySnapshot()
  /** All that was ever counted, by task, resource and slot. */
  counted = new Map<string, number>()
  series: readonly Series[] | 'away' = [utilization(50)]
  now = at(1500)
  complete = true
  lastSample: number | undefined
  samplesFrom = 0
  ledger: TaskLedger
  service: TasksService
  readonly nodeTasksMax: number

  constructor(nodeTasksMax = 256) {
    this.nodeTasksMax = nodeTasksMax
    this.ledger = this.#newLedger()
    this.service = this.#newService()
  }

  tell(...events: readonly FleetEvent[]): void {
    for (const e of events) this.#append(TENANT, { event: e })
  }

  decide(decision: TaskDecision): void {
    this.#append(TENANT, { decision })
  }

  /** Killed, and started again from a snapshot that it made at some time and the log behind it. */
  restart(snapshot: { n: number; state: string } | undefined): void {
    this.ledger = this.#newLedger()
    if (snapshot !== undefined) this.ledger.restore(JSON.parse(snapshot.state))
    this.counted = new Map()
    const whole = this.#newLedger()
    for (const [i, line] of this.log.entries()) {
      const input = JSON.parse(line) as LedgerInput
      this.#count(input, whole.apply(input))
      if (i + 1 > (snapshot?.n ?? 0)) this.ledger.apply(input)
    }
    // What a snapshot and the rest of the log give is what all of the log gives.
    assert.deepEqual(sortedJson(this.ledger), sortedJson(whole))
    this.service = this.#newService()
  }

  snapshot(): { n: number; state: string } {
    return { n: this.log.length, state: JSON.stringify(this.ledger.snapshot()) }
  }

  /** Rounds until nothing is left to do. */
  async settle(): Promise<void> {
    for (let i = 0; i < 10 && (this.ledger.dirty.length > 0 || this.ledger.waiting.length > 0 || i < 2); i++)
      await this.service.round()
    assert.deepEqual([this.ledger.dirty, this.ledger.waiting], [[], []])
  }

  sums(): Record<string, number> {
    return Object.fromEntries([...this.counted].filter(([, amount]) => amount !== 0).sort())
  }

  decisions(what: TaskDecision['what']): TaskDecision[] {
    return this.log.flatMap((line) => {
      const input = JSON.parse(line) as { decision?: TaskDecision }
      return input.decision?.what === what ? [input.decision] : []
    })
  }

  #append(tenant: string, body: { event: FleetEvent } | { decision: TaskDecision }): void {
    // As it is read again later.
    const line = JSON.stringify({ n: this.log.length + 1, tenant, ...body })
    this.log.push(line)
    const input = JSON.parse(line) as LedgerInput
    this.#count(input, this.ledger.apply(input))
    if ('decision' in input && input.decision.what === 'calculated') {
      const { taskId } = input.decision.key
      const memory = this.ledger.memoryOf(tenant, taskId)
      if (memory !== undefined) this.rows.set(taskId, JSON.parse(JSON.stringify(memory)))
    }
  }

  #count(input: LedgerInput, deltas: ReturnType<TaskLedger['apply']>): void {
    if (!('decision' in input) || input.decision.what !== 'calculated') return
    const { taskId, attempt } = input.decision.key
    for (const { resource, slot, amount } of deltas) {
      const key = `${taskId}/${attempt} ${resource} ${slot}`
      this.counted.set(key, (this.counted.get(key) ?? 0) + amount)
    }
  }

  /** Rows as the archive has them, in its order. */
  #archived(place: SweepPlace, since: number): ArchivedAttempt[] {
    const all = [...this.rows.values()].flatMap(({ taskId, signals, accounts }) =>
      accounts.map(({ key, node, to }) => ({
        tenant: TENANT,
        taskId,
        attempt: key.attempt,
        userId: signals.map(({ facts }) => facts.userId).find((userId) => userId !== undefined) ?? '',
        names: [node ?? ''],
        to: to ?? Number.POSITIVE_INFINITY,
      })),
    )
    const order = ({ tenant, taskId, attempt }: ArchivedAttempt): string => JSON.stringify([tenant, taskId, attempt])
    all.sort((a, b) => (order(a) < order(b) ? -1 : 1))
    return all.filter((one) => order(one) > JSON.stringify(place) && one.to >= since)
  }

  #newLedger(): TaskLedger {
    return new TaskLedger({
      clockSkewMs: 5000,
      nodeOf: (_, names) => surestName(names),
      tasksMax: 1000,
      closedKeptMs: 1_800_000,
      stagesKeptMs: 1_800_000,
      nodeTasksMax: this.nodeTasksMax,
    })
  }

  #newService(): TasksService {
    return new TasksService(this.ledger, {
      source: {
        read: async () => {
          if (this.series === 'away') throw new SeriesUnavailable('away')
          return [...this.series]
        },
      },
      operator: 'operator',
      operatorOf: () => undefined,
      directory: () => this.directory,
      hasRoom: () => true,
      archive: {
        load: async (_, taskId) => this.rows.get(taskId),
        onNode: async (_, node, from, to) =>
          [...this.rows.values()].filter(({ accounts }) =>
            accounts.some((account) => account.node === node && account.from! < to && account.to! > from),
          ),
        isStored: () => true,
        after: async (place, since, max) => this.#archived(place, since).slice(0, max),
        countAfter: async (place, since) => this.#archived(place, since).length,
        loadAll: async (_, taskIds) => taskIds.flatMap((taskId) => this.rows.get(taskId) ?? []),
      },
      samplesFrom: () => this.samplesFrom,
      append: async (tenant, decision) => this.#append(tenant, { decision }),
      completeUntil: () => (this.complete ? Number.POSITIVE_INFINITY : 0),
      lastSample: () => this.lastSample,
      mapping: DEFAULT_MAPPING,
      intervalMs: 10_000,
      taskMaxMs: 7_200_000,
      silentMs: 300_000,
      refreshMs: 60_000,
      parallel: 2,
      lookMs: 1000,
      clock: { now: () => this.now, monotonic: () => this.now },
      log: silentLogger,
    })
  }
}

function sortedJson(ledger: TaskLedger): unknown {
  const { fold, accounts, dirty, leftUntil, waiting, swept } = ledger.snapshot()
  const sorted = (list: readonly unknown[]): string[] => list.map((item) => JSON.stringify(item)).sort()
  return [
    sorted(fold.tasks),
    sorted(fold.stages),
    sorted(fold.floors),
    sorted(accounts),
    sorted(dirty),
    sorted(leftUntil),
    sorted(waiting),
    sorted([swept]),
  ]
}

const slot = T0
const gpu = (taskId: string, seconds: number, busy: number): Record<string, number> => ({
  [`${taskId} gpu_busy_seconds ${slot}`]: busy * 1e6,
  [`${taskId} gpu_seconds ${slot}`]: seconds * 1e6,
  [`${taskId} tasks ${slot}`]: 1,
})

test('a task is calculated at once, provisional, and again when all of its samples are here', async () => {
  const rig = new Rig()
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
  const rig = new Rig()
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
  const rig = new Rig()
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
  const rig = new Rig()
  rig.series = 'away'
  rig.tell(
    event('xumi.generation.start', at(0), task('a')),
    event('xumi.generation.complete', at(100), task('a', { result: true })),
  )
  await rig.service.round()
  assert.deepEqual([rig.ledger.dirty.length, rig.decisions('calculated').length], [1, 0])
  assert.match(rig.service.health().detail ?? '', /figures of tasks wait: away/)
  rig.series = [utilization(50)]
  rig.now += 2000
  await rig.settle()
  assert.deepEqual([rig.sums(), rig.service.health()], [gpu('a/1', 100, 50), { ready: true }])
})

test('a task without an end is lost when its node is silent for long enough, and not before', async () => {
  const rig = new Rig()
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
  const rig = new Rig()
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
  const rig = new Rig()
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
  const rig = new Rig(3)
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
  const rig = new Rig(3)
  rig.tell(started('long', 0, { gpus: ['GPU-0'] }))
  for (let i = 0; i < 10; i++) rig.tell(started(`t${i}`, i * 20), ended(`t${i}`, i * 20 + 20))
  rig.tell(ended('long', 300))
  await rig.settle()
  assert.deepEqual(rig.sums()[`long/1 gpu_seconds ${slot}`], 200e6)
})

const nodeRecord = (fields: Partial<NodeRecord>): NodeRecord => ({
  ...{ id: 'e1', version: 1, tenant: TENANT, changed_at: '', source: 'explicit' },
  ...{ node_id: null, host_name: null, kubernetes_node: null, instances: [] },
  ...{ vm_type: null, gpu_model: null, gpu_count: null },
  ...{ valid_from: '2026-01-01T00:00:00.000Z', valid_to: null },
  ...fields,
})

test('tasks that call their machine by different names share it, once the directory has them', async () => {
  const rig = new Rig()
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
  const rig = new Rig()
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
  const rig = new Rig(nodeTasksMax)
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

const happening = fc.oneof(
  { weight: 6, arbitrary: fc.record({ what: fc.constant('event' as const), i: fc.nat() }) },
  { weight: 3, arbitrary: fc.constant({ what: 'round' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'snapshot' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'restart' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'away' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'later' as const }) },
)

const taskEvents: fc.Arbitrary<FleetEvent> = fc
  .record({
    type: fc.constantFrom(
      'workflow.task.start',
      'workflow.task.fail',
      'xumi.generation.start',
      'xumi.generation.complete',
    ),
    second: fc.integer({ min: 0, max: 60 }),
    id: fc.constantFrom('a', 'b', 'c'),
    // The same machine, where the directory says so.
    host_name: fc.constantFrom(undefined, 'other'),
  })
  .map(({ type, second, id, host_name }) =>
    event(type, at(second * 20), task(id, host_name === undefined ? {} : { node_id: undefined, host_name })),
  )

const settlesAlike = (
  restart: (rig: Rig, snapshot: ReturnType<Rig['snapshot']> | undefined) => void,
  { nodeTasksMax = 256, directory = new DirectorySnapshot() } = {},
): fc.IAsyncProperty<unknown> =>
  fc.asyncProperty(
    fc.uniqueArray(taskEvents, { minLength: 1, maxLength: 8, selector: (e) => e.event_id }),
    fc.array(happening, { maxLength: 20 }),
    async (events, story) => {
      const rig = new Rig(nodeTasksMax)
      rig.directory = directory
      let snapshot: ReturnType<Rig['snapshot']> | undefined
      const told = new Set<FleetEvent>()
      const tell = (e: FleetEvent): void => {
        // The owner logs each event once.
        if (!told.has(e)) rig.tell(e)
        told.add(e)
      }
      for (const one of story) {
        if (one.what === 'event') tell(events[one.i % events.length]!)
        else if (one.what === 'round') await rig.service.round()
        else if (one.what === 'snapshot') snapshot = rig.snapshot()
        else if (one.what === 'restart') restart(rig, snapshot)
        else if (one.what === 'later') rig.now += 700_000
        else rig.series = rig.series === 'away' ? [utilization(50)] : 'away'
      }
      for (const e of events) tell(e)
      rig.series = [utilization(50)]
      rig.now += 120_000
      await rig.settle()
      const fresh = new Rig(nodeTasksMax)
      fresh.directory = directory
      fresh.now = rig.now
      fresh.tell(...events)
      await fresh.settle()
      assert.deepEqual(rig.sums(), fresh.sums())
    },
  )

/** Stories that went wrong once. */
const heard = (i: number) => ({ what: 'event', i })
const [later, round, away] = [{ what: 'later' }, { what: 'round' }, { what: 'away' }]
const stories = [
  // Who has left memory is part of a crowd that is told of afterwards.
  [
    [
      event('workflow.task.fail', at(20), task('a')),
      event('workflow.task.start', at(0), task('b')),
      event('workflow.task.start', at(0), task('a')),
    ],
    [later, heard(0), heard(2), round],
  ],
  // A second attempt, which nothing could be calculated of yet, when all of the first is in the archive.
  [
    [
      event('workflow.task.fail', at(0), task('a')),
      event('xumi.generation.complete', at(20), task('a')),
      event('workflow.task.start', at(0), task('b')),
    ],
    [heard(0), round, away, heard(1), round, later, round],
  ],
]

test('what was counted is in the end what one look at everything gives', { timeout: 120_000 }, async () => {
  await fc.assert(
    settlesAlike((rig, snapshot) => rig.restart(snapshot)),
    { numRuns: 150, examples: stories },
  )
})

test('the same where a node is crowded now and then', { timeout: 120_000 }, async () => {
  await fc.assert(
    settlesAlike((rig, snapshot) => rig.restart(snapshot), { nodeTasksMax: 1 }),
    { numRuns: 150, examples: stories },
  )
})

test('the same where tasks call one machine by different names, alone and in a crowd', {
  timeout: 120_000,
}, async () => {
  const directory = await new DirectorySnapshot().with(1, [
    { kind: 'node', record: nodeRecord({ node_id: 'n', host_name: 'other' }) },
  ])
  for (const nodeTasksMax of [256, 1])
    await fc.assert(
      settlesAlike((rig, snapshot) => rig.restart(snapshot), { nodeTasksMax, directory }),
      { numRuns: 100, examples: stories },
    )
})

test('control: a restart that forgets what was counted is found out', { timeout: 120_000 }, async () => {
  const forgetful = settlesAlike((rig) => {
    const { counted } = rig
    rig.restart(undefined)
    rig.counted = new Map([...counted, ...[...counted].map(([key, amount]): [string, number] => [key, amount * 2])])
  })
  assert.equal((await fc.check(forgetful, { numRuns: 150, endOnFailure: true })).failed, true)
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
async function archived(): Promise<Rig> {
  const rig = new Rig()
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

const versions = (rig: Rig): number[] =>
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
