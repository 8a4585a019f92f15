/** What is known of tasks follows from the set of events: not from their order, repeats, delay, or a restart in between. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { FoldOptions, TaskChange } from '../../../aggregator/tasks/fold.ts'
import { TaskFold } from '../../../aggregator/tasks/fold.ts'
import type { TaskRecord } from '../../../aggregator/tasks/task-record.ts'
import type { FleetEvent } from '../../../proto/events/event.ts'
import { event, TENANT } from '../../support/task-events.ts'

const T0 = Date.parse('2026-01-31T12:00:00.000Z')
const SECOND = 1000

const OPTIONS: FoldOptions = {
  clockSkewMs: 5 * SECOND,
  nodeOf: (_, { nodeId, hostName, nodeName }) => nodeId ?? hostName ?? nodeName,
  tasksMax: 1000,
  closedKeptMs: 3600 * SECOND,
  stagesKeptMs: 3600 * SECOND,
}

function recordsOf(events: readonly FleetEvent[], options: Partial<FoldOptions> = {}): TaskRecord[] {
  const fold = new TaskFold({ ...OPTIONS, ...options })
  for (const e of events) fold.apply(TENANT, e)
  return sorted([...fold.records()])
}

const nameOf = ({ taskId, attempt }: { taskId: string; attempt: number }): string => `${taskId}/${attempt}`
const sorted = (records: readonly TaskRecord[]): TaskRecord[] =>
  [...records].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))

const at = (seconds: number): number => T0 + seconds * SECOND
const task = (fields: Readonly<Record<string, unknown>> = {}): Record<string, unknown> => ({
  task_id: 'a',
  node_id: 'n',
  model: 'm',
  ...fields,
})

/** The one record of these events, in their order and in the opposite one. */
function one(...events: readonly FleetEvent[]): TaskRecord {
  const records = recordsOf(events)
  assert.deepEqual(recordsOf([...events].reverse()), records)
  assert.equal(records.length, 1)
  return records[0]!
}

test('a task runs from the earliest start to the last end, with what both services say', () => {
  const record = one(
    event('workflow.task.start', at(0), { task_id: 'a', user_id: 'u', kubernetes_node: 'n', queue_time: 30 }),
    event('xumi.generation.start', at(1), task({ vm_type: 'h100' })),
    event('xumi.generation.complete', at(10), task({ result: true, input_tokens: 5, output_tokens: 7 })),
    event('workflow.task.complete', at(11), { task_id: 'a', tags: { project: 'p' } }),
  )
  assert.deepEqual(record, {
    tenant: TENANT,
    taskId: 'a',
    attempt: 1,
    state: 'completed',
    queuedAt: at(-30),
    startedAt: at(0),
    endedAt: at(11),
    facts: { model: 'm', nodeId: 'n', nodeName: 'n', tokensIn: 5, tokensOut: 7, userId: 'u', vmType: 'h100' },
    tags: { project: 'p' },
    loads: [],
    flags: [],
  })
})

test('an end alone takes its start from start_generation, and says so', () => {
  const end = event(
    'xumi.generation.complete',
    at(9),
    task({ start_generation: new Date(at(2)).toISOString(), result: true }),
  )
  assert.deepEqual([one(end).startedAt, one(end).endedAt, one(end).flags], [at(2), at(9), ['start_from_end']])
})

test('an end that nothing is known before has an empty window, and says so', () => {
  const record = one(event('workflow.task.fail', at(9), task({ detail: 'CUDA out of memory' })))
  assert.deepEqual(
    [record.state, record.startedAt, record.endedAt, record.flags, record.detail],
    ['failed', at(9), at(9), ['start_unknown'], 'CUDA out of memory'],
  )
})

test('a failure and a cancellation are told apart, and the word of the workflow counts', () => {
  const start = event('workflow.task.start', at(0), task())
  assert.equal(one(start, event('workflow.task.fail', at(1), task({ detail: 'Cancelled by user' }))).state, 'cancelled')
  assert.equal(one(start, event('xumi.generation.complete', at(1), task({ result: false }))).state, 'failed')
  const both = one(
    start,
    event('xumi.generation.complete', at(1), task({ result: true })),
    event('workflow.task.fail', at(2), task()),
  )
  assert.deepEqual([both.state, both.flags], ['failed', ['verdicts_disagree']])
})

test('clocks that disagree by seconds tell of one attempt, beyond the skew of two', () => {
  const events = (skew: number): FleetEvent[] => [
    event('workflow.task.start', at(0), task()),
    event('workflow.task.complete', at(1), task()),
    event('xumi.generation.start', at(skew), task()),
    event('xumi.generation.complete', at(skew + 1), task({ result: true })),
  ]
  const near = recordsOf(events(3))
  assert.deepEqual(
    near.map((r) => [r.startedAt, r.endedAt, r.flags]),
    [[at(0), at(4), ['clocks_disagree']]],
  )
  assert.equal(recordsOf(events(60)).length, 2)
})

test('an end shortly before its start is one attempt with an empty window; a start after it stands for a retry', () => {
  const record = one(event('workflow.task.complete', at(0), task()), event('workflow.task.start', at(2), task()))
  assert.deepEqual(
    [record.state, record.startedAt, record.endedAt, record.flags],
    ['completed', at(0), at(0), ['clocks_disagree']],
  )
  const later = recordsOf([
    event('workflow.task.complete', at(0), task()),
    event('workflow.task.start', at(20), task()),
  ])
  assert.deepEqual(
    later.map((r) => [r.attempt, r.state]),
    [
      [1, 'completed'],
      [2, 'running'],
    ],
  )
})

test('an end alone is of the attempt that the other service saw begin last', () => {
  const records = recordsOf([
    event('xumi.generation.start', at(0), task()),
    event('xumi.generation.complete', at(100), task({ result: false })),
    event('xumi.generation.start', at(200), task()),
    event('xumi.generation.complete', at(300), task({ result: true })),
    event('workflow.task.complete', at(340), task()),
  ])
  assert.deepEqual(
    records.map((r) => [r.attempt, r.state, r.startedAt, r.endedAt]),
    [
      [1, 'failed', at(0), at(100)],
      [2, 'completed', at(200), at(340)],
    ],
  )
})

test('a retry in the same instant is the next attempt, and so is a start on another node', () => {
  const retried = recordsOf([
    event('workflow.task.start', at(0), task()),
    event('workflow.task.fail', at(10), task()),
    event('workflow.task.start', at(10), task()),
    event('workflow.task.complete', at(20), task()),
  ])
  assert.deepEqual(
    retried.map((r) => [r.attempt, r.state, r.startedAt, r.endedAt]),
    [
      [1, 'failed', at(0), at(10)],
      [2, 'completed', at(10), at(20)],
    ],
  )
  const moved = recordsOf([
    event('xumi.generation.start', at(0), task()),
    event('xumi.generation.start', at(30), task({ node_id: 'other' })),
  ])
  assert.deepEqual(
    moved.map((r) => [r.state, r.endedAt, r.flags]),
    [
      ['lost', at(30), ['superseded']],
      ['running', undefined, []],
    ],
  )
})

test('weights that are loaded are of the next task of the node and model, also where they were told of last', () => {
  const load = event('xumi.weights.load.start', at(1), { model: 'm', node_id: 'n' })
  const events = [
    load,
    event('xumi.weights.load.complete', at(8), {
      model: 'm',
      node_id: 'n',
      origin_event_id: load.event_id,
      result: true,
      size: 9,
    }),
    event('workflow.task.start', at(0), task()),
    event('xumi.generation.start', at(9), task()),
    event('xumi.generation.start', at(20), task({ task_id: 'b' })),
    event('xumi.generation.start', at(9), task({ task_id: 'c', node_id: 'other' })),
  ]
  for (const order of [events, [...events].reverse()])
    assert.deepEqual(
      recordsOf(order).map((r) => [r.taskId, r.loads]),
      [
        ['a', [{ startedAt: at(1), endedAt: at(8), ok: true, bytes: 9 }]],
        ['b', []],
        ['c', []],
      ],
    )
  assert.equal(one(load, event('workflow.task.start', at(0), task())).state, 'loading')
})

test('a pod is of the tasks that its life covers; of two that may be, none is', () => {
  const deploy = (seconds: number, resource: string): FleetEvent =>
    event('kuber.deploy.start', at(seconds), { node_id: 'n', resource_id: resource })
  const start = event('workflow.task.start', at(10), task())
  assert.deepEqual(one(deploy(0, 'r'), start).pod, { resourceId: 'r', deployedAt: at(0) })
  assert.deepEqual(one(deploy(0, 'r'), deploy(1, 's'), start).flags, ['pod_ambiguous'])
  assert.deepEqual(
    one(deploy(0, 'r'), deploy(1, 's'), event('workflow.task.start', at(10), task({ resource_id: 's' }))).pod,
    { resourceId: 's', deployedAt: at(1) },
  )
})

test('a task that was lost is closed at the last sample, and an end that comes after all is believed', () => {
  const fold = new TaskFold(OPTIONS)
  fold.apply(TENANT, event('xumi.generation.start', at(0), task()))
  const lost = { id: 'decision', tenant: TENANT, taskId: 'a', time: at(50) }
  const [change] = fold.applyLost(lost).changes
  assert.deepEqual([change?.record?.state, change?.record?.endedAt, change?.record?.flags], ['lost', at(50), ['lost']])
  assert.deepEqual(fold.applyLost(lost), { changes: [] })
  const [amended] = fold.apply(TENANT, event('xumi.generation.complete', at(70), task({ result: true }))).changes
  assert.deepEqual(
    [amended?.record?.state, amended?.record?.endedAt, amended?.record?.flags],
    ['completed', at(70), []],
  )
})

test('a task that was queued and never began is lost too, and begins after all', () => {
  const fold = new TaskFold(OPTIONS)
  fold.apply(TENANT, event('workflow.process.create', at(0), task()))
  const [change] = fold.applyLost({ id: 'decision', tenant: TENANT, taskId: 'a', time: at(50) }).changes
  assert.deepEqual(
    [change?.record?.state, change?.record?.queuedAt, change?.record?.startedAt, change?.record?.endedAt],
    ['lost', at(0), undefined, at(50)],
  )
  const [begun] = fold.apply(TENANT, event('workflow.task.start', at(70), task())).changes
  assert.deepEqual([begun?.record?.state, begun?.record?.queuedAt, begun?.record?.attempt], ['running', at(0), 1])
})

test('a task out of memory is asked for before an event of it is applied, and goes on as if it had never left', () => {
  const load = event('xumi.weights.load.start', at(-5), { model: 'm', node_id: 'n' })
  const events = [
    load,
    event('xumi.generation.start', at(0), task()),
    event('xumi.generation.complete', at(9), task({ result: true })),
  ]
  const late = event('workflow.task.fail', at(10), task({ detail: 'upload failed' }))
  const other = event('xumi.generation.start', at(20), task({ task_id: 'b' }))
  const fold = new TaskFold(OPTIONS)
  for (const e of events) fold.apply(TENANT, e)
  assert.equal(fold.needs(TENANT, other), undefined)
  assert.deepEqual(fold.leaving(at(60)), [])
  assert.deepEqual(fold.leaving(at(7200)), [{ tenant: TENANT, taskId: 'a', over: false }])
  const memory = JSON.parse(JSON.stringify(fold.memoryOf(TENANT, 'a')))
  fold.leave(TENANT, 'a')
  assert.equal(fold.size, 0)
  fold.apply(TENANT, other)
  assert.deepEqual(fold.record({ tenant: TENANT, taskId: 'b', attempt: 1 })?.loads, [])
  assert.deepEqual(fold.needs(TENANT, late), { tenant: TENANT, taskId: 'a' })
  fold.restore(memory)
  assert.equal(fold.needs(TENANT, late), undefined)
  fold.apply(TENANT, late)
  assert.deepEqual(sorted([...fold.records()]), recordsOf([...events, other, late]))
})

test('a task with more signals than are kept is the same in any order, and says so', () => {
  const events = Array.from({ length: 400 }, (_, i) =>
    event(i % 2 === 0 ? 'workflow.task.start' : 'workflow.task.fail', at(i * 10), task()),
  )
  const records = recordsOf(events)
  assert.ok(records.every((r) => r.flags.includes('signals_dropped')))
  assert.deepEqual(recordsOf([...events].reverse()), records)
  assert.deepEqual(recordsOf([...events, ...events]), records)
})

test('events without a task, with a wrong time or with fields of other types tell nothing and break nothing', () => {
  const odd = [
    event('workflow.task.start', at(0), {}),
    { ...event('workflow.task.start', at(0), task()), timestamp: 'yesterday' },
    event('constructor', at(0), task()),
    event('xumi.weights.load.start', at(0), { node_id: 7, model: [] }),
  ]
  assert.deepEqual(recordsOf(odd), [])
  const [record] = recordsOf([
    event('workflow.task.start', at(0), {
      task_id: 'a',
      node_id: {},
      gpus: [1, null, 'GPU-x'],
      attempt: -1,
      queue_time: -5,
      tags: {},
    }),
  ])
  assert.deepEqual([record?.facts, record?.attempt, record?.queuedAt], [{ gpus: ['1', 'GPU-x'] }, 1, undefined])
})

const time = fc.integer({ min: 0, max: 120 }).map((s) => at(s / 2))
const anyEvent: fc.Arbitrary<FleetEvent> = fc
  .record({
    type: fc.constantFrom(
      'workflow.process.create',
      'workflow.task.start',
      'workflow.task.complete',
      'workflow.task.fail',
      'xumi.generation.start',
      'xumi.generation.complete',
      'xumi.weights.load.start',
      'xumi.weights.load.complete',
      'kuber.deploy.start',
      'kuber.deploy.start.complete',
      'kuber.deploy.free.complete',
    ),
    time,
    task: fc.constantFrom('a', 'b', 'c'),
    node: fc.constantFrom('n', 'n', 'o', undefined),
    model: fc.constantFrom('m', 'm', 'k'),
    attempt: fc.constantFrom(undefined, undefined, undefined, 1, 2),
    started: fc.option(time, { nil: undefined }),
  })
  .map(({ type, time: t, task: id, node, model, attempt, started }) =>
    event(type, t, {
      ...(node === undefined ? {} : { node_id: node }),
      ...(type.startsWith('kuber') ? { resource_id: model } : { model }),
      ...(/weights|kuber/.test(type) ? {} : { task_id: id, ...(attempt === undefined ? {} : { attempt }) }),
      ...(type === 'xumi.generation.complete' && started !== undefined
        ? { start_generation: new Date(started).toISOString() }
        : {}),
    }),
  )

/** Events, and the order, with repeats, in which they come; in its middle the aggregator starts again. */
const history = fc.uniqueArray(anyEvent, { minLength: 1, maxLength: 14, selector: (e) => e.event_id }).chain((events) =>
  fc.record({
    events: fc.constant(events),
    order: fc
      .array(fc.nat({ max: events.length - 1 }), { maxLength: 10 })
      .chain((again) => fc.shuffledSubarray([...events.keys(), ...again], { minLength: events.length + again.length })),
    restartAt: fc.nat({ max: 20 }),
  }),
)

/** The model: the whole set, sorted, read once. */
function model(events: readonly FleetEvent[]): TaskRecord[] {
  const inOrder = [...events].sort((a, b) => (a.timestamp + a.event_id < b.timestamp + b.event_id ? -1 : 1))
  return recordsOf(inOrder)
}

const converges = (arrive: (fold: TaskFold, e: FleetEvent) => readonly TaskChange[]): fc.IProperty<unknown> =>
  fc.property(history, ({ events, order, restartAt }) => {
    let fold = new TaskFold(OPTIONS)
    // What a reader of the changes has in the end.
    const rows = new Map<string, TaskRecord>()
    for (const [i, index] of order.entries()) {
      if (i === restartAt) fold = TaskFold.from(JSON.parse(JSON.stringify(fold.snapshot())), OPTIONS)
      for (const { key, record } of arrive(fold, events[index]!)) {
        if (record === undefined) rows.delete(nameOf(key))
        else rows.set(nameOf(key), record)
      }
    }
    assert.deepEqual(sorted([...rows.values()]), model(events))
  })

test('TaskFold gives the same records and changes for any order, repeats and a restart', () => {
  fc.assert(
    converges((fold, e) => fold.apply(TENANT, e).changes),
    { numRuns: 600 },
  )
})

test('control: a fold that takes times as they arrive is found out', () => {
  let arrived = 0
  const byArrival = converges((fold, e) => {
    arrived += 500
    return fold.apply(TENANT, { ...e, timestamp: new Date(T0 + arrived).toISOString() }).changes
  })
  assert.equal(fc.check(byArrival, { numRuns: 600, endOnFailure: true }).failed, true)
})

test('control: a fold that tells of the event’s own task only is found out', () => {
  const ownOnly = converges((fold, e) => fold.apply(TENANT, e).changes.filter(({ key }) => key.taskId === e['task_id']))
  assert.equal(fc.check(ownOnly, { numRuns: 600, endOnFailure: true }).failed, true)
})

/** What truly happened: attempts one after the other, told by one service or both, whose clocks are apart by seconds. */
const truth = fc.record({
  attempts: fc.array(
    fc.record({
      pause: fc.integer({ min: 30, max: 90 }),
      seconds: fc.integer({ min: 20, max: 200 }),
      told: fc.constantFrom<string[]>(['workflow'], ['generation'], ['workflow', 'generation']),
      failed: fc.boolean(),
      withStart: fc.boolean(),
    }),
    { minLength: 1, maxLength: 3 },
  ),
  skew: fc.integer({ min: -3, max: 3 }),
  lastEnds: fc.boolean(),
  order: fc.infiniteStream(fc.nat()),
})

test('TaskFold finds out what happened, whoever told of it and in whatever order', () => {
  fc.assert(
    fc.property(truth, ({ attempts, skew, lastEnds, order }) => {
      const events: FleetEvent[] = []
      const expected: unknown[] = []
      let clock = 0
      for (const [i, { pause, seconds, told, failed, withStart }] of attempts.entries()) {
        const ends = lastEnds || i + 1 < attempts.length
        const begin = clock + pause
        clock = begin + seconds
        // The generation begins a second later and ends a second earlier, by its own clock.
        const [from, to] = [begin + 1 + skew, clock - 1 + skew]
        const [byWorkflow, byGeneration] = [told.includes('workflow'), told.includes('generation')]
        if (byWorkflow) events.push(event('workflow.task.start', at(begin), task()))
        if (byWorkflow && ends)
          events.push(event(failed ? 'workflow.task.fail' : 'workflow.task.complete', at(clock), task()))
        const start = { start_generation: new Date(at(from)).toISOString() }
        if (byGeneration && (withStart || !ends)) events.push(event('xumi.generation.start', at(from), task()))
        if (byGeneration && ends)
          events.push(event('xumi.generation.complete', at(to), task({ result: !failed, ...(withStart ? {} : start) })))
        expected.push([
          i + 1,
          ends ? (failed ? 'failed' : 'completed') : 'running',
          at(Math.min(byWorkflow ? begin : Infinity, byGeneration ? from : Infinity)),
          ends ? at(Math.max(byWorkflow ? clock : -Infinity, byGeneration ? to : -Infinity)) : undefined,
        ])
      }
      for (let i = events.length - 1; i > 0; i--) {
        const j = order.next().value % (i + 1)
        ;[events[i], events[j]] = [events[j]!, events[i]!]
      }
      assert.deepEqual(
        recordsOf(events).map((r) => [r.attempt, r.state, r.startedAt, r.endedAt]),
        expected,
      )
    }),
    { numRuns: 500 },
  )
})
