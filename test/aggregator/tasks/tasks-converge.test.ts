/**
 * Whatever the order of events, whenever figures are made, tasks leave memory and the aggregator starts again in between: what was
 * counted is in the end what one look at everything gives.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DirectorySnapshot } from '../../../aggregator/directory/snapshot.ts'
import type { FleetEvent } from '../../../proto/events/event.ts'
import { event } from '../../support/task-events.ts'
import { at, nodeRecord, TaskRig, task, utilization } from '../../support/task-rig.ts'

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
  restart: (rig: TaskRig, snapshot: ReturnType<TaskRig['snapshot']> | undefined) => void,
  { nodeTasksMax = 256, directory = new DirectorySnapshot() } = {},
): fc.IAsyncProperty<unknown> =>
  fc.asyncProperty(
    fc.uniqueArray(taskEvents, { minLength: 1, maxLength: 8, selector: (e) => e.event_id }),
    fc.array(happening, { maxLength: 20 }),
    async (events, story) => {
      const rig = new TaskRig(nodeTasksMax)
      rig.directory = directory
      let snapshot: ReturnType<TaskRig['snapshot']> | undefined
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
      const fresh = new TaskRig(nodeTasksMax)
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
