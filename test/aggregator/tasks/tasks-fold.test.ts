/** Rows of calculations that a snapshot is newer than: asked for again after a restart, they are what they were. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { AppliedRecord } from '../../../aggregator/owner/fold.ts'
import type { LoggedRows } from '../../../aggregator/store/record-store.ts'
import { surestName } from '../../../aggregator/tasks/nodes.ts'
import type { CalculatedDecision } from '../../../aggregator/tasks/task-decision.ts'
import { CALCULATION, TasksFold } from '../../../aggregator/tasks/tasks-fold.ts'
import { receivedEvent } from '../../support/events.ts'
import { quantitiesOf, taskDetails } from '../../support/task-rows.ts'

const TENANT = 'default'
const T = Date.UTC(2026, 0, 31, 12)
const TASK = { task_id: 'a', node_id: 'n' }

function newFold(stored: number[] = []): TasksFold {
  return new TasksFold({
    ...{ clockSkewMs: 5000, tasksMax: 10, closedKeptMs: 1e9, stagesKeptMs: 1e9, nodeTasksMax: 256 },
    nodeOf: (_, names) => surestName(names),
    changed: () => {},
    stored: (at) => stored.push(at),
  })
}

/** Of the log, as it is read. */
function record(n: number, kind: string, value: unknown): AppliedRecord {
  const body = JSON.stringify(value)
  return { n, kind, tenant: TENANT, key: String(n), at: (T + n) * 1000, body, value: JSON.parse(body) }
}

function told(n: number, event_type: string, ms: number): AppliedRecord {
  const timestamp = new Date(T + ms).toISOString()
  return record(n, 'event', receivedEvent({ event_type, timestamp, ...TASK, result: true }, { tenant: TENANT }))
}

/** The figures that a version states. */
function calculated(fold: TasksFold, n: number, version: number, seconds: number): AppliedRecord {
  const key = { tenant: TENANT, taskId: 'a', attempt: 1 }
  const { who, cost } = taskDetails()
  const decision: CalculatedDecision = {
    ...{ what: 'calculated', key, version, upTo: n - 1, final: false },
    record: fold.ledger.tasks.record(key)!,
    calculation: {
      window: { from: T, to: T + 100_000 },
      ...{ gpus: [], node: {}, flags: [], usage: quantitiesOf(1) },
      amounts: [{ resource: 'gpu_seconds', slot: T, amount: seconds * 1e6 }],
    },
    assessment: { error: null, who, cost, directory: 0 },
  }
  return record(n, CALCULATION, decision)
}

/** All that is to be had of rows. @param before of what has the rows already */
const plain = (rows: LoggedRows): unknown => JSON.parse(JSON.stringify(rows))

test('a snapshot keeps what its rows are made of until they are stored, and no longer', () => {
  const ends: number[] = []
  const fold = newFold(ends)
  const log = [told(1, 'xumi.generation.start', 0), told(2, 'xumi.generation.complete', 100_000)]
  for (const one of log) fold.apply(one)
  for (const [n, version, seconds] of [
    [3, 1, 100],
    [4, 2, 60],
    [5, 2, 1], // it was calculated twice: of the second nothing is counted
    [6, 3, 80],
  ] as const) {
    log.push(calculated(fold, n, version, seconds))
    fold.apply(log.at(-1)!)
  }
  const rowsOf = (of: TasksFold, n: number): LoggedRows => of.rows(log[n - 1]!)
  const amounts = (of: TasksFold): number[] =>
    [3, 4, 5, 6].flatMap((n) => rowsOf(of, n).usage?.map((u) => u.amount) ?? [])
  assert.deepEqual(amounts(fold), [100, -40, 20])
  assert.deepEqual(rowsOf(fold, 5), {})

  const restarted = newFold()
  restarted.restore(JSON.parse(JSON.stringify(fold.snapshot())))
  for (const n of [3, 4, 5, 6]) assert.deepEqual(plain(rowsOf(restarted, n)), plain(rowsOf(fold, n)), String(n))
  // Control: the deltas do not follow from the figures alone.
  const forgetful = newFold()
  forgetful.restore({ ...fold.snapshot(), deltas: [] })
  assert.deepEqual(amounts(forgetful), [])

  fold.stored(4)
  assert.deepEqual(amounts(fold), [20])
  assert.deepEqual(ends.length, 1, 'told once that the end has its row')
  const later = newFold()
  later.restore(JSON.parse(JSON.stringify(fold.snapshot())))
  assert.deepEqual(amounts(later), [20])
})
