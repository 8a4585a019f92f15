/** Batches of events: what each way of ending is answered and counted as, and what is no batch. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { EventsAnswer } from '../../../aggregator/events/events-intake.ts'
import { EventsIntake } from '../../../aggregator/events/events-intake.ts'
import type { Admitted } from '../../../aggregator/owner/admission.ts'
import type { FleetEvent, ReceivedItem } from '../../../proto/events/event.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { EventBatchHeader } from '../../../proto/wire/event-batch.ts'
import { encodeEventBatch } from '../../../proto/wire/event-batch.ts'
import { auditEvent, eventBatch, letter, receivedEvent } from '../../support/events.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const DAY = 86_400_000

class Rig {
  readonly quarantine: string = temporaryDirectory()
  room = true
  outcome: Admitted = 'logged'
  taken = 0
  inserted: (() => void)[] = []
  readonly intake: EventsIntake = new EventsIntake(
    {
      take: async (events) => {
        this.taken += events.length
        return events.map(() => this.outcome)
      },
    },
    {
      hasRoom: () => this.room,
      flush: () => {},
      add: () => new Promise((resolve) => this.inserted.push(resolve)),
    },
    {
      quarantine: this.quarantine,
      lateMaxMs: 30 * DAY,
      clock: { now: () => Date.now(), monotonic: () => performance.now() },
      log: silentLogger,
    },
  )

  receive(items: readonly ReceivedItem[]): Promise<EventsAnswer> {
    return this.intake.receive(eventBatch(items))
  }

  /** Rows that were added are in. */
  insert(): void {
    for (const stored of this.inserted.splice(0)) stored()
  }

  /** Holds at any moment, on every road. */
  sum(): void {
    for (const { received, stored, duplicate, dead, expired, waiting, refused } of this.intake.roads.values())
      assert.equal(
        received,
        stored + duplicate + dead + expired + waiting + refused.full + refused.log + refused.look_up,
      )
  }
}

test('a batch is answered when its last item is durable, and the sum holds on the way', async () => {
  const rig = new Rig()
  const tooOld = auditEvent({ timestamp: new Date(Date.now() - 31 * DAY).toISOString() })
  const answer = rig.receive([receivedEvent(), auditEvent(), letter(), tooOld])
  let answered = false
  void answer.then(() => {
    answered = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(answered, false, 'rows are not in ClickHouse yet')
  rig.sum()
  assert.equal(rig.intake.roads.get('http')!.waiting, 1)
  rig.insert()
  assert.deepEqual(await answer, { kind: 'stored', expired: 1 })
  rig.sum()
  const { stored, expired, waiting } = rig.intake.roads.get('http')!
  assert.deepEqual([stored, expired, waiting, rig.intake.roads.get('kafka')!.dead], [2, 1, 0, 1])
})

test('no room, a log that takes nothing, a look-up that fails: later, and counted by reason', async () => {
  const rig = new Rig()
  rig.room = false
  assert.equal((await rig.receive([receivedEvent(), auditEvent()])).kind, 'later')
  assert.equal(rig.taken, 0, 'nothing of it was taken')
  rig.room = true
  for (const refused of ['log', 'look_up'] as const) {
    rig.outcome = { refused, error: new Error('the disk is full') }
    assert.deepEqual(await rig.receive([receivedEvent()]), { kind: 'later', reason: 'the disk is full' })
  }
  rig.sum()
  assert.deepEqual(rig.intake.roads.get('http')!.refused, { full: 2, log: 1, look_up: 1 })
})

test('the same range while the first is under way gets its answer and takes no room', async () => {
  const rig = new Rig()
  const batch = eventBatch([auditEvent()])
  const answers = [rig.intake.receive(batch), rig.intake.receive(batch)]
  assert.equal(rig.inserted.length, 1)
  rig.insert()
  assert.deepEqual(await Promise.all(answers), [
    { kind: 'stored', expired: 0 },
    { kind: 'stored', expired: 0 },
  ])
  assert.deepEqual([rig.intake.counts.batches, rig.intake.counts.repeated], [2, 1])
})

test('what is no batch of events is kept aside or refused, and nothing of it is taken', async () => {
  const rig = new Rig()
  const event = (fields: Record<string, unknown>): ReceivedItem => {
    const { event: sound, ...way } = receivedEvent()
    return { ...way, event: { ...sound, ...fields } as FleetEvent }
  }
  const bad: readonly unknown[] = [
    null,
    [],
    'text',
    {},
    { ...receivedEvent(), tenant: '../x' },
    { ...receivedEvent(), tenant: 'a\nb' },
    { ...receivedEvent(), at: -1 },
    { ...receivedEvent(), at: 1e300 },
    { ...receivedEvent(), road: 'sea' },
    { ...receivedEvent(), topic: 5 },
    { ...receivedEvent(), event: null },
    { ...letter(), dead: { id: 'x' } },
    event({ event_id: 'x' }),
    event({ event_id: '0000000A-0000-4000-8000-000000000000' }),
    event({ event_type: "a.b'; DROP" }),
    event({ timestamp: 'yesterday' }),
    event({ source: {} }),
    event({ tags: 'x' }),
  ]
  for (const [i, item] of bad.entries()) {
    const bytes = eventBatch([receivedEvent(), item as ReceivedItem])
    const answer = await rig.intake.receive(bytes)
    assert.equal(answer.kind, 'unreadable', JSON.stringify(item))
    assert.match((answer as { reason: string }).reason, /item 2: /)
    const kept = readdirSync(rig.quarantine)
    assert.equal(kept.length, i + 1)
    assert.ok(kept.some((name) => readFileSync(join(rig.quarantine, name)).equals(bytes)))
  }
  for (const header of [null, 5, { collector: 1 }, { collector: 'c', session: 's', lane: 'l', from: 'x', to: 1 }])
    assert.equal(
      (await rig.intake.receive(encodeEventBatch(header as unknown as EventBatchHeader, []))).kind,
      'unreadable',
    )
  const sound = eventBatch([receivedEvent()])
  for (let length = 0; length < sound.length; length += 7)
    assert.ok(['unreadable', 'damaged'].includes((await rig.intake.receive(sound.subarray(0, length))).kind))
  const newer = sound.slice()
  newer[3] = '2'.charCodeAt(0)
  assert.equal((await rig.intake.receive(newer)).kind, 'newer')
  assert.deepEqual([rig.taken, rig.intake.roads.size], [0, 0])
})
