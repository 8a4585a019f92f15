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

const plain = <const W extends string>(what: W): fc.Arbitrary<{ what: W }> => fc.constant({ what })
const nth = <const W extends string>(what: W): fc.Arbitrary<{ what: W; i: number }> =>
  fc.record({ what: fc.constant(what), i: fc.nat({ max: 60 }) })

const happening = fc.oneof(
  { weight: 10, arbitrary: nth('event') },
  { weight: 4, arbitrary: nth('meanwhile') },
  { weight: 3, arbitrary: plain('round') },
  { weight: 2, arbitrary: nth('few') },
  { weight: 3, arbitrary: nth('leave') },
  { weight: 1, arbitrary: plain('snapshot') },
  { weight: 1, arbitrary: plain('restart') },
  { weight: 1, arbitrary: plain('away') },
  { weight: 1, arbitrary: plain('archive away') },
  { weight: 1, arbitrary: plain('incomplete') },
  { weight: 1, arbitrary: plain('late samples') },
  { weight: 1, arbitrary: plain('directory') },

  { weight: 1, arbitrary: plain('soon') },
  { weight: 1, arbitrary: plain('later') },
)
type Happening = typeof happening extends fc.Arbitrary<infer H> ? H : never

/** Tasks that nobody ended are lost two hours after they began, and who has heard of their end by then is a matter of time. */
const LAST = at(7000)

const taskEvents: fc.Arbitrary<FleetEvent> = fc
  .record({
    type: fc.constantFrom(
      'workflow.process.create',
      'workflow.task.start',
      'workflow.task.start',
      'workflow.task.complete',
      'workflow.task.fail',
      'xumi.generation.start',
      'xumi.generation.complete',
    ),
    second: fc.integer({ min: 0, max: 60 }).map((n) => n * 20),
    lasted: fc.option(fc.integer({ min: 0, max: 20 }).map((n) => n * 20)),
    id: fc.constantFrom('a', 'b', 'c', 'd'),
    // The same machine, where the directory says so.
    host_name: fc.constantFrom(undefined, undefined, 'other'),
    gpus: fc.constantFrom(undefined, undefined, ['GPU-0'], ['GPU-1']),
    attempt: fc.constantFrom(undefined, undefined, undefined, 1, 2),
    // Told again with another id.
    again: fc.constantFrom(undefined, undefined, true),
  })
  .map(({ type, second, lasted, id, host_name, ...fields }) =>
    event(
      type,
      at(second),
      task(id, {
        ...Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)),
        ...(host_name === undefined ? {} : { node_id: undefined, host_name }),
        ...(type === 'xumi.generation.complete' && lasted !== null && lasted <= second
          ? { start_generation: new Date(at(second - lasted)).toISOString() }
          : {}),
      }),
    ),
  )

/** In every other version it is known that the two names are of one machine. */
const DIRECTORIES: DirectorySnapshot[] = [new DirectorySnapshot()]
for (let version = 1; version <= 5; version++) {
  const ended = version % 2 === 1 ? {} : { valid_to: '2026-01-01T00:00:01.000Z' }
  const record = nodeRecord({ node_id: 'n', host_name: 'other', version, ...ended })
  DIRECTORIES.push(await DIRECTORIES.at(-1)!.with(version, [{ kind: 'node', record }]))
}

type Restart = (rig: TaskRig, snapshot: ReturnType<TaskRig['snapshot']> | undefined) => void

async function tellStory(rig: TaskRig, events: readonly FleetEvent[], story: readonly Happening[], restart: Restart) {
  let snapshot: ReturnType<TaskRig['snapshot']> | undefined
  const told = new Set<FleetEvent>()
  const tell = (e: FleetEvent): void => {
    // The owner logs each event once.
    if (!told.has(e)) rig.tell(e)
    told.add(e)
  }
  for (const one of story) {
    if (one.what === 'event') tell(events[one.i % events.length]!)
    else if (one.what === 'meanwhile') rig.meanwhile.push(() => tell(events[one.i % events.length]!))
    else if (one.what === 'round') await rig.service.round()
    else if (one.what === 'few') await rig.fewOf(one.i % 3)
    else if (one.what === 'leave') rig.leave(one.i)
    else if (one.what === 'snapshot') snapshot = rig.snapshot()
    else if (one.what === 'restart') restart(rig, snapshot)
    else if (one.what === 'away') rig.samplesAway = !rig.samplesAway
    else if (one.what === 'archive away') rig.archiveAway = !rig.archiveAway
    else if (one.what === 'late samples') rig.sampleAgain()
    else if (one.what === 'directory') rig.directory = DIRECTORIES[rig.directory.version + 1] ?? rig.directory
    else if (one.what === 'incomplete') rig.complete = !rig.complete
    else if (one.what === 'soon') rig.now = Math.min(rig.now + 30_000, LAST)
    else if (one.what === 'later') rig.now = Math.min(rig.now + 700_000, LAST)
    else one satisfies never
  }
  for (const e of events) tell(e)
}

const settlesAlike = (
  restart: Restart,
  { nodeTasksMax = 256, directory = new DirectorySnapshot(), archivesAll = true } = {},
): fc.IAsyncProperty<unknown> =>
  fc.asyncProperty(
    fc.uniqueArray(taskEvents, { minLength: 1, maxLength: 12, selector: (e) => e.event_id }),
    fc.array(happening, { maxLength: 40, size: 'max' }),
    async (events, story) => {
      const rig = new TaskRig(nodeTasksMax)
      rig.directory = directory
      rig.archivesAll = archivesAll
      rig.series = [utilization(50), utilization(80, 1)]
      await tellStory(rig, events, story, restart)
      rig.samplesAway = false
      rig.archiveAway = false
      rig.complete = true
      rig.now += 120_000
      await rig.settle()
      const fresh = new TaskRig(nodeTasksMax)
      fresh.directory = rig.directory
      fresh.series = rig.series
      fresh.now = rig.now
      fresh.tell(...events)
      await fresh.settle()
      assert.deepEqual(rig.sums(), fresh.sums())
    },
  )

/** Stories that went wrong once. */
const heard = (i: number): Happening => ({ what: 'event', i })
const few = (i: number): Happening => ({ what: 'few', i })
const leave: Happening = { what: 'leave', i: 0 }
const later: Happening = { what: 'later' }
const round: Happening = { what: 'round' }
const incomplete: Happening = { what: 'incomplete' }
const away: Happening = { what: 'away' }
const start = (id: string, second: number, fields = {}): FleetEvent =>
  event('workflow.task.start', at(second), task(id, fields))
const fail = (id: string, second: number, fields = {}): FleetEvent =>
  event('workflow.task.fail', at(second), task(id, fields))
const generation = (id: string, second: number): FleetEvent => event('xumi.generation.start', at(second), task(id))
const OTHER = { node_id: undefined, host_name: 'other' }
const stories: [FleetEvent[], Happening[]][] = [
  [
    // Who has left memory is part of a crowd that is told of afterwards.
    [fail('a', 20), start('b', 0), start('a', 0)],
    [later, heard(0), heard(2), round],
  ],
  [
    // A second attempt, which nothing could be calculated of yet, when all of the first is in the archive.
    [fail('a', 0), event('xumi.generation.complete', at(20), task('a')), start('b', 0)],
    [heard(0), round, away, heard(1), round, later, round],
  ],
  [
    // An event that changes nothing yet, of a task that leaves memory before it does.
    [
      ...[start('a', 0), fail('a', 0), generation('a', 0)],
      ...[start('a', 0, OTHER), start('a', 20), generation('a', 20)],
      ...[start('c', 0), start('c', 20)],
    ],
    [heard(0), heard(1), round, later, heard(2), round],
  ],
  [
    // Who comes back for an event of its own, when a neighbour that is not calculated yet came meanwhile.
    [fail('c', 20, { attempt: 1 }), start('c', 0, { attempt: 1 }), start('a', 0), fail('c', 0)],
    [heard(0), heard(1), round, leave],
  ],
  [
    // The same in a crowd, which does not look at all that are there.
    [start('b', 0), event('workflow.task.complete', at(20), task('d')), generation('a', 0)],
    [heard(1), heard(0), few(1), leave],
  ],
  [
    // One that could not be calculated when its neighbour was, and turns out not to have been there.
    [start('a', 0), start('b', 200), fail('b', 300), fail('a', 100)],
    [heard(0), away, round, away, heard(1), heard(2), round],
  ],
  [
    // The same where it turns out to be none, and the neighbour has left memory.
    [
      ...[event('workflow.task.complete', at(100), task('a')), generation('a', 200)],
      ...[start('b', 300), fail('b', 400), generation('a', 60)],
    ],
    [heard(0), heard(1), away, round, away, heard(2), heard(3), round, leave],
  ],
  [
    // A neighbour that changes while the last samples are read, and is calculated meanwhile.
    [
      ...[start('a', 0), fail('a', 100), event('workflow.process.create', at(0), task('a'))],
      ...[event('workflow.process.create', at(0), task('c')), start('b', 40), fail('b', 80)],
    ],
    [
      ...[heard(0), heard(1), incomplete, round, incomplete],
      ...[heard(2), heard(3), heard(4), { what: 'meanwhile' as const, i: 5 }, round],
    ],
  ],
  [
    // The same where it becomes a crowd by that.
    [
      ...[start('a', 0), fail('a', 100), event('workflow.process.create', at(0), task('c'))],
      ...[start('b', 200), start('b', 40)],
    ],
    [heard(0), heard(1), heard(2), heard(3), { what: 'meanwhile', i: 4 }, round],
  ],
  [
    // An attempt that turns out to be none while it is calculated.
    [start('a', 0), start('a', 0, { attempt: 2 })],
    [heard(0), { what: 'meanwhile', i: 1 }, round],
  ],
  [
    // A crowd that dissolves while samples are away.
    [
      ...[generation('a', 20), event('workflow.task.complete', at(20), task('c')), generation('c', 0)],
      event('xumi.generation.complete', at(20), task('a', { start_generation: new Date(at(0)).toISOString() })),
    ],
    [away, heard(0), heard(3), heard(2), round, heard(1), few(1), round],
  ],
  [
    // A crowd that dissolves while one that was in it is away.
    [
      event(
        'xumi.generation.complete',
        at(40),
        task('c', { ...OTHER, start_generation: new Date(at(20)).toISOString() }),
      ),
      event('xumi.generation.complete', at(20), task('c', { start_generation: new Date(at(0)).toISOString() })),
      ...[start('a', 0), event('xumi.generation.complete', at(0), task('a')), start('d', 20)],
    ],
    [heard(2), heard(4), heard(1), round, later, leave],
  ],
  [
    // Samples that come late, when who has left memory called their node by a name that another one has beside its own.
    [
      event('workflow.process.create', at(0), task('a', OTHER)),
      event(
        'xumi.generation.complete',
        at(20),
        task('c', { ...OTHER, start_generation: new Date(at(0)).toISOString() }),
      ),
      event('workflow.process.create', at(0), task('a')),
    ],
    [heard(1), round, leave, { what: 'late samples' }],
  ],
  [
    // Directories change while the archive is away, and who is in it comes back before it is looked at.
    [
      event(
        'xumi.generation.complete',
        at(40),
        task('c', { ...OTHER, attempt: 1, start_generation: new Date(at(20)).toISOString() }),
      ),
      event('workflow.task.complete', at(0), task('c')),
    ],
    [heard(0), { what: 'archive away' }, round, { what: 'directory' }, leave, round],
  ],
  [
    // Samples that come late while the archive is away.
    [start('a', 0), fail('a', 100)],
    [heard(0), heard(1), round, leave, { what: 'archive away' }, { what: 'late samples' }, round],
  ],
]

test('what was counted is in the end what one look at everything gives', { timeout: 120_000 }, async () => {
  await fc.assert(
    settlesAlike((rig, snapshot) => rig.restart(snapshot)),
    { numRuns: 300, examples: stories },
  )
})

test('the same where a node is crowded now and then', { timeout: 120_000 }, async () => {
  await fc.assert(
    settlesAlike((rig, snapshot) => rig.restart(snapshot), { nodeTasksMax: 1 }),
    { numRuns: 300, examples: stories },
  )
})

test('the same where tasks call one machine by different names, alone and in a crowd', {
  timeout: 120_000,
}, async () => {
  const directory = DIRECTORIES[1]!
  for (const nodeTasksMax of [256, 1])
    await fc.assert(
      settlesAlike((rig, snapshot) => rig.restart(snapshot), { nodeTasksMax, directory }),
      { numRuns: 150, examples: stories },
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

test('control: an archive that lacks events which changed no figure is found out', { timeout: 120_000 }, async () => {
  const lacking = settlesAlike((rig, snapshot) => rig.restart(snapshot), { archivesAll: false })
  const { failed } = await fc.check(lacking, { numRuns: 300, examples: stories, endOnFailure: true })
  assert.equal(failed, true)
})
