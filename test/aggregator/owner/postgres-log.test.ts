/**
 * The log in PostgreSQL, against a real server: what was answered is there, in order, once, over broken connections, statements whose
 * outcome nobody knows, a server that crashes, and owners that were replaced. Its controls take the generation out of the statement.
 */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Queries } from '../../../aggregator/directory/database.ts'
import type { LoggedRecord, OwnerRecord } from '../../../aggregator/owner/owner-log.ts'
import { MINE, makeOwnerTables, OwnerTable } from '../../../aggregator/owner/owner-table.ts'
import { postgresFiles } from '../../../aggregator/owner/postgres-files.ts'
import type { PostgresLog } from '../../../aggregator/owner/postgres-log.ts'
import { isNotOwner } from '../../../aggregator/owner/postgres-log.ts'
import { SnapshotFiles } from '../../../aggregator/owner/snapshot-file.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import type { ConnectionFault } from '../../support/owner-postgres.ts'
import { emptied, FlakyQueries, ownerDatabase, takeOver, waitingForLocks } from '../../support/owner-postgres.ts'
import { startPostgres } from '../../support/postgres.ts'
import { eventually } from '../../support/programs.ts'

let made = 0
const record = (): OwnerRecord => ({
  kind: 'event',
  tenant: 't',
  key: `k${made}`,
  at: 1_795_200_300_000_000 + made,
  body: JSON.stringify({ i: made++, text: 'ü "{}", \\ \u0000 \ud83d' }),
})

async function allOf(log: PostgresLog, after = 0): Promise<LoggedRecord[]> {
  const records: LoggedRecord[] = []
  for await (const piece of log.read(after)) records.push(...piece)
  return records
}

async function database(t: TestContext): Promise<Awaited<ReturnType<typeof ownerDatabase>> | undefined> {
  const server = await startPostgres(t)
  return server === undefined ? undefined : ownerDatabase(t, server.url)
}

/** Takes the generation out of what appends, and lets the table say which position is next: no fence is left. */
function unfenced(queries: Queries): Queries {
  return {
    query: (sql, parameters) => {
      if (!sql.includes('INSERT INTO owner_log')) return queries.query(sql, parameters)
      const open = sql
        .replace(MINE, 'mine AS (SELECT 1 WHERE $2::bigint > 0)')
        .replace('$3::bigint + i - 1', '$3::bigint * 0 + i + (SELECT coalesce(max(n), 0) FROM owner_log)')
      assert.ok(!open.includes('gen = $2') && open.includes('max(n)'))
      return queries.query(open, parameters)
    },
  }
}

test('what was answered is there in order and once; what was refused is not; no position is given twice', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        sizes: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 3 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('fault' as const),
        fault: fc.constantFrom<ConnectionFault>('before', 'after', 'during', 'refused'),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('crash' as const) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('release' as const),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 15 }), async (steps) => {
      await emptied(db)
      const queries = new FlakyQueries(db)
      let log = await takeOver(db, queries)
      let released = 0
      const expected: LoggedRecord[] = []
      for (const one of steps) {
        if (one.kind === 'fault') queries.fault = one.fault
        else if (one.kind === 'release') {
          released = Math.max(released, Math.floor(one.share * log.end))
          await log.release(released)
        } else if (one.kind === 'crash') {
          queries.fault = undefined
          const { generation } = log
          log = await takeOver(db, queries, { floor: released })
          assert.equal(log.generation, generation + 1)
          assert.equal(log.damage.lost, 0)
        } else {
          const groups = one.sizes.map((size) => Array.from({ length: size }, record))
          const outcomes = await Promise.allSettled(groups.map((group) => log.append(group)))
          for (const [i, outcome] of outcomes.entries())
            if (outcome.status === 'fulfilled')
              expected.push(...groups[i]!.map((r, k) => ({ ...r, n: outcome.value + k })))
        }
      }
      await queries.left
      const reopened = await takeOver(db, db, { floor: released })
      assert.deepEqual(
        await allOf(reopened, released),
        expected.filter(({ n }) => n > released),
      )
      for (const [i, { n }] of expected.entries()) assert.ok(i === 0 || n > expected[i - 1]!.n)
    }),
    { numRuns: 60 },
  )
})

test('an owner that was replaced appends nothing, confirms nothing, takes nothing away, and is told once', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  const told: string[] = []
  const old = await takeOver(db, db, { lost: (why) => told.push(why) })
  assert.equal(await old.append([record(), record()]), 1)
  await old.confirm()
  const next = await takeOver(db)
  assert.equal((await allOf(next)).length, 2)
  await old.release(2)
  await postgresFiles(db, next.generation).replace('', 'kept', new Uint8Array([1]))
  await postgresFiles(db, old.generation).remove('owner/kept')
  assert.deepEqual(await postgresFiles(db, old.generation).list(''), ['kept'])
  const refused = await Promise.allSettled([old.confirm(), old.append([record()]), old.append([record()])])
  for (const outcome of refused) assert.ok(outcome.status === 'rejected' && isNotOwner(outcome.reason))
  await assert.rejects(old.append([record()]), /is not the owner: another aggregator/)
  assert.equal(told.length, 1)
  assert.equal(await next.append([record()]), 3)
  assert.deepEqual(
    (await allOf(next)).map(({ n }) => n),
    [1, 2, 3],
  )
})

test('a take-over and an append at once: one waits for the other, and a record that was answered is what the next owner reads', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  const old = await takeOver(db)
  const refusals: Promise<void>[] = []
  await db.transaction(async ({ query }) => {
    await query('UPDATE owner SET gen = gen + 1')
    refusals.push(assert.rejects(old.append([record()]), /is not the owner/)) // heard from now on: it may come before the commit is told
    await waitingForLocks(db, 1)
  })
  await Promise.all(refusals)
  assert.deepEqual(await allOf(await takeOver(db)), [])
})

test('only one takes over, and only from an owner that was not heard from for its term', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  const tables = ['a', 'b', 'c'].map((name) => new OwnerTable(db, name))
  const claims = await Promise.all(tables.map((table, i) => table.claim(`http://127.0.0.1:${i + 1}`)))
  assert.deepEqual(
    claims.filter((claim) => claim !== undefined),
    [1],
  )
  const owner = tables[claims.indexOf(1)]!
  const other = tables[(claims.indexOf(1) + 1) % 3]!
  await db.query(`UPDATE owner SET beat = clock_timestamp() - interval '9 seconds'`)
  assert.equal(await other.claim('x'), undefined)
  assert.equal(await owner.beat(1), true)
  await db.query(`UPDATE owner SET beat = clock_timestamp() - interval '11 seconds'`)
  assert.equal((await other.read())!.alive, false)
  assert.equal(await other.claim('http://other:1'), 2)
  assert.equal(await owner.beat(1), false)
  await owner.resign(1) // not his any more
  assert.deepEqual(await owner.read(), {
    generation: 2,
    holder: ['a', 'b', 'c'][(claims.indexOf(1) + 1) % 3],
    address: 'http://other:1',
    alive: true,
  })
  await other.resign(2)
  assert.equal(await owner.claim('y'), 3)
})

test('an outcome that stays unknown ends the term, and nobody was answered', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  let away = false
  const queries: Queries = {
    query: (sql, parameters) =>
      away && sql.includes('owner_log') ? Promise.reject(new Error('no route to host')) : db.query(sql, parameters),
  }
  const told: string[] = []
  const log = await takeOver(db, queries, { holdMs: 300, lost: (why) => told.push(why) })
  await log.append([record()])
  away = true
  const outcomes = await Promise.allSettled([log.append([record()]), log.append([record()])])
  for (const outcome of outcomes) assert.ok(outcome.status === 'rejected' && isNotOwner(outcome.reason))
  assert.match(told.join(), /not known: no route to host/)
  assert.equal((await allOf(await takeOver(db))).length, 1)
})

test('the server crashes again and again in the midst of appends: what was answered is there once', {
  timeout: 60_000,
}, async (t) => {
  const server = await startPostgres(t)
  if (server === undefined) return
  const db = await ownerDatabase(t, server.url)
  const log = await takeOver(db, db, { holdMs: 30_000 })
  const answered: { n: number; key: string }[] = []
  let isOver = false
  const writers = Array.from({ length: 8 }, async () => {
    while (!isOver) {
      const one = record()
      answered.push({ n: await log.append([one]), key: one.key })
    }
  })
  for (let crash = 0; crash < 3; crash++) {
    const before = answered.length
    await eventually('records go in', () => answered.length > before + 50)
    if (crash === 1)
      await db.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`,
      )
    else {
      await server.kill()
      await server.start()
    }
  }
  const before = answered.length
  await eventually('records go in again', () => answered.length > before + 50)
  isOver = true
  await Promise.all(writers)
  const there = await allOf(await takeOver(db))
  assert.deepEqual(
    there.map(({ n, key }) => ({ n, key })),
    answered.toSorted((a, b) => a.n - b.n),
  )
  t.diagnostic(`${answered.length} records in ${log.counts.groups} groups`)
})

test('snapshots beside the log: the newest sound one, and the one before it where that is damaged', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  const log = await takeOver(db)
  const files = (): SnapshotFiles => new SnapshotFiles(postgresFiles(db, log.generation), 'owner', silentLogger)
  const snapshots = files()
  assert.equal(await snapshots.load(), undefined)
  for (const appliedUpTo of [10, 20, 30])
    await snapshots.save({ appliedUpTo, storedUpTo: appliedUpTo - 5, folds: { a: 'ü' } })
  assert.deepEqual(await files().load(), { appliedUpTo: 30, storedUpTo: 25, folds: { a: 'ü' } })
  await db.query(`UPDATE owner_files SET content = substring(content FROM 1 FOR 30) WHERE name = 'snapshot-30.json'`)
  assert.equal((await files().load())!.appliedUpTo, 20)
})

/** Two that each think they are the owner share out what is left, by what they read when they began. @returns how many hold */
async function shareOut(db: Queries, as: (queries: Queries) => Queries, room: number): Promise<number> {
  await emptied(db)
  const owners = [await takeOver(db, as(db)), await takeOver(db, as(db))]
  const counted = await Promise.all(owners.map(async (log) => (await allOf(log)).length))
  for (let i = 0; i < 2 * room; i++)
    for (const [which, log] of owners.entries()) {
      if (counted[which]! >= room) continue
      counted[which]!++
      await log.append([record()]).catch(() => {})
    }
  return (await allOf(await takeOver(db))).length
}

test('two owners at once: what fits is given out once; control: without the generation in the statement, twice', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  assert.equal(await shareOut(db, (queries) => queries, 20), 20)
  assert.equal(await shareOut(db, unfenced, 20), 40, 'the control overspends')
})

test('what waits while PostgreSQL is slow has a bound: beyond it records are refused, and none of them is there', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  let go = (): void => {}
  const slow = new Promise<void>((resolve) => {
    go = resolve
  })
  const log = await takeOver(db, {
    query: async (sql, parameters) => {
      if (sql.includes('INSERT INTO owner_log')) await slow
      return db.query(sql, parameters)
    },
  })
  const body = JSON.stringify('x'.repeat(1 << 20))
  const appended = Array.from({ length: 100 }, () => log.append([{ ...record(), body }]))
  const outcomes = Promise.allSettled(appended)
  await assert.rejects(appended.at(-1)!, /does not take records fast enough/)
  go()
  const taken = (await outcomes).filter(({ status }) => status === 'fulfilled').length
  assert.ok(taken >= 60 && taken <= 70, `${taken} MiB`)
  assert.equal((await allOf(log)).length, taken)
  await log.append([record()])
  assert.equal(log.end, taken + 1, 'there is room again')
})

test('a table of that name that is somebody else’s is refused, with what to do', async (t) => {
  const db = await database(t)
  if (db === undefined) return
  await makeOwnerTables(db)
  await db.query('DROP TABLE owner')
  await db.query('CREATE TABLE owner (id integer, name text)')
  await assert.rejects(
    makeOwnerTables(db),
    /a table "owner" that is not this program's.*"partition" does not exist.*a database of its own/,
  )
})
