/** The owner with its log, snapshots and rows on the real engine: what a fold sees, what a restart begins from, what the log may lose. */
import assert from 'node:assert/strict'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { FileLog } from '../../../aggregator/owner/file-log.ts'
import type { Append, AppliedRecord, Fold } from '../../../aggregator/owner/fold.ts'
import { nodeLogFiles } from '../../../aggregator/owner/log-files.ts'
import { LoggedIds } from '../../../aggregator/owner/logged-ids.ts'
import { Owner } from '../../../aggregator/owner/owner.ts'
import { SnapshotFiles } from '../../../aggregator/owner/snapshot-file.ts'
import type { Database } from '../../../aggregator/store/clickhouse.ts'
import type { LoggedRows } from '../../../aggregator/store/record-store.ts'
import { RecordStore } from '../../../aggregator/store/record-store.ts'
import { migrate } from '../../../aggregator/store/schema/migrate.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { engineOfFile } from '../../support/engine.ts'
import { receivedEvent } from '../../support/events.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const engine = engineOfFile()

/** Counts events, and charges each with a record of its own. */
class Charges implements Fold {
  readonly name = 'charges'
  state = { events: 0, charged: 0, last: 0 }
  append: Append | undefined

  apply(record: AppliedRecord): void {
    assert.ok(record.n > this.state.last, 'in order')
    this.state = { ...this.state, last: record.n }
    if (record.kind === 'charge') this.state.charged += (record.value as { amount: number }).amount
    else this.state.events++
    if (record.key === 'poison') throw new Error('cannot use this one')
  }

  rows({ kind, n, tenant, key, value }: AppliedRecord): LoggedRows {
    if (kind !== 'charge') return {}
    const { amount } = value as { amount: number }
    const subject = { taskId: key, attempt: 1, userId: 'u', project: 'p', department: 'd' }
    const usage = {
      tenant,
      partition: 0,
      n,
      i: 0,
      resource: 'storage_bytes',
      slot: 1_795_200_300,
      amount,
      costMicro: -5,
      currency: 'EUR',
      kind: 'measured',
      ...subject,
    }
    const task = {
      tenant,
      n,
      updated: Date.now(),
      state: 'running',
      provisional: true,
      nodeId: 'n',
      model: 'm',
      queued: 0,
      started: 5,
      ended: 0,
      result: -1,
      errorCategory: '',
      ...subject,
    }
    const figures = {
      gpuSeconds: 1.5,
      gpuBusySeconds: 1,
      cpuCoreSeconds: 2,
      energyWh: 3,
      costMicro: 4,
      currency: 'EUR',
      details: '{}',
    }
    return { usage: [usage], tasks: [{ ...task, ...figures }] }
  }

  snapshot(): unknown {
    return this.state
  }

  restore(state: unknown): void {
    this.state = state as Charges['state']
  }

  begin(append: Append): void {
    this.append = append
  }
}

interface Rig {
  readonly owner: Owner
  readonly fold: Charges
  readonly store: RecordStore
  readonly log: FileLog
  stop(): Promise<void>
}

async function startOwner(
  t: TestContext,
  directory: string,
  database: string,
  snapshotRecords = 1e6,
  idsFrom: Database = engine.db,
): Promise<Rig> {
  await migrate(engine.db, database, { pointsDays: 30, rollupDays: 396, eventDays: 396 })
  const common = { clock: systemClock, faults: () => {}, log: silentLogger }
  const store = new RecordStore(engine.db, {
    database,
    insertRows: 1000,
    insertAfterMs: 20,
    bytesMax: 1 << 24,
    ...common,
  })
  const log = new FileLog(nodeLogFiles, {
    directory: join(directory, 'log'),
    quarantine: join(directory, 'quarantine'),
    segmentBytes: 2000,
    probeAfterMs: 1e6,
    log: silentLogger,
  })
  const fold = new Charges()
  const parts = {
    ids: new LoggedIds(idsFrom, database, () => Date.now()),
    log,
    snapshots: new SnapshotFiles(nodeLogFiles, directory, silentLogger),
    store,
    folds: [fold],
  }
  const owner = new Owner(parts, { recentMax: 1000, snapshotRecords, ...common })
  await owner.start()
  await store.start()
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= owner.stop(AbortSignal.timeout(5000)).then(() => store.stop(AbortSignal.timeout(5000)))
    return stopped
  }
  t.after(stop)
  return { owner, fold, store, log, stop }
}

const charge = (key: string, amount: number) => ({
  kind: 'charge',
  tenant: 'default',
  key,
  at: 1,
  body: JSON.stringify({ amount }),
})

test('a restart has the state of before, from snapshot and log; repeats are told, old ones by a look-up', async (t) => {
  const directory = temporaryDirectory()
  const rig = await startOwner(t, directory, 'restart')
  const old = receivedEvent({ timestamp: '2026-03-01T00:00:00.000Z' })
  const events = [receivedEvent(), receivedEvent(), old]
  assert.deepEqual(await rig.owner.take([...events, events[0]!]), ['logged', 'logged', 'logged', 'duplicate'])
  assert.equal(await rig.fold.append!([charge('a', 12_000_000_000_000.25), charge('b', -0.5)]), 4)
  assert.deepEqual(rig.fold.state, { events: 3, charged: 11_999_999_999_999.75 + 0, last: 5 })
  await rig.stop()

  const again = await startOwner(t, directory, 'restart')
  assert.deepEqual(again.fold.state, { events: 3, charged: 11_999_999_999_999.75, last: 5 })
  assert.deepEqual(await again.owner.take(events), ['duplicate', 'duplicate', 'duplicate'])
  assert.deepEqual([again.owner.counts.lookUps, again.owner.counts.lookedUp], [1, 1])
  assert.deepEqual(await again.owner.take([receivedEvent()]), ['logged'])
  assert.equal(again.log.end, 6)
  await again.stop()
  const [row] = await engine.db.rows<{ amount: string; n: string; tasks: string }>(
    'SELECT toString(sum(amount)) AS amount, toString(count()) AS n, (SELECT toString(count()) FROM restart.tasks FINAL WHERE started = fromUnixTimestamp64Milli(5)) AS tasks FROM restart.usage FINAL',
  )
  assert.deepEqual(row, { amount: '11999999999999.75', n: '2', tasks: '2' })
  t.diagnostic(`log of ${again.log.bytes} bytes`)
})

test('the log is deleted up to what two snapshots and ClickHouse have; of a damaged snapshot the older one is taken', async (t) => {
  const directory = temporaryDirectory()
  const rig = await startOwner(t, directory, 'snapshots', 20)
  for (let i = 0; i < 12; i++) {
    await rig.owner.take(Array.from({ length: 10 }, () => receivedEvent()))
    await rig.store.settled()
  }
  const segments = (): string[] => readdirSync(join(directory, 'log'))
  assert.ok(!segments().includes('00000001.log'), 'the first segment is needed no more')
  await rig.stop()
  const [newest, ...others] = readdirSync(directory)
    .filter((name) => name.startsWith('snapshot'))
    .sort((a, b) => Number(/\d+/.exec(b)) - Number(/\d+/.exec(a)))
  assert.equal(others.length, 1)
  const path = join(directory, newest!)
  writeFileSync(path, readFileSync(path, 'utf8').replace('"events":120', '"events":999'))
  const again = await startOwner(t, directory, 'snapshots', 20)
  assert.deepEqual(again.fold.state, { events: 120, charged: 0, last: 120 })
  assert.equal(again.log.damage.lost, 0)
  assert.ok(readdirSync(directory).includes(`${newest}.damaged`))
  await again.stop()
})

test('a record that a fold cannot use is counted and does not keep the next ones from it', async (t) => {
  const { fold, owner, stop } = await startOwner(t, temporaryDirectory(), 'poison')
  await fold.append!([charge('poison', 1), charge('a', 2)])
  assert.deepEqual([fold.state.charged, owner.counts.foldFailures], [3, 1])
  await stop()
})

test('snapshots that are all damaged are refused with what is lost, until a person removes them', async (t: TestContext) => {
  const directory = temporaryDirectory()
  writeFileSync(join(directory, 'snapshot-10.json'), 'FMS1 00000000\n{}')
  for (let i = 0; i < 2; i++)
    await assert.rejects(startOwner(t, directory, 'damaged'), /No snapshot in ".*" can be read \(snapshot-10.json\)/)
  rmSync(join(directory, 'snapshot-10.json'))
  const { stop } = await startOwner(t, directory, 'damaged')
  await stop()
})

test('a log that was lost goes on behind its rows: none is replaced; so does one that is an older copy', async (t) => {
  const directory = temporaryDirectory()
  const first = await startOwner(t, directory, 'lost')
  for (const amount of [1, 2, 3]) await first.owner.append([charge('a', amount)])
  await first.store.settled()
  cpSync(directory, `${directory}-copy`, { recursive: true })
  await first.owner.append([charge('a', 4)])
  await first.store.settled()
  await first.stop()
  const amounts = (): Promise<number[]> =>
    engine.db
      .rows<{ amount: number }>('SELECT amount FROM lost.usage FINAL ORDER BY n', {})
      .then((rows) => rows.map(({ amount }) => amount))

  rmSync(directory, { recursive: true })
  const second = await startOwner(t, directory, 'lost')
  assert.equal(second.store.storedUpTo, second.log.begin, 'what the rows say counts at once')
  const n = await second.owner.append([charge('a', 5)])
  assert.ok(n > 4 && second.log.begin === n - 1, `${n}`)
  await second.store.settled()
  assert.deepEqual(await amounts(), [1, 2, 3, 4, 5])
  // kill -9: no snapshot, and the log begins where it began.
  const third = await startOwner(t, directory, 'lost')
  assert.deepEqual([third.log.begin, third.fold.state.charged, third.log.damage.lost], [n - 1, 5, 0])
  await third.stop()

  const copy = await startOwner(t, `${directory}-copy`, 'lost')
  assert.equal(copy.fold.state.charged, 6)
  assert.ok((await copy.owner.append([charge('a', 6)])) > n)
  await copy.store.settled()
  assert.deepEqual(await amounts(), [1, 2, 3, 4, 5, 6])
  const again = await startOwner(t, `${directory}-copy`, 'lost')
  assert.deepEqual([again.fold.state.charged, again.log.damage.lost], [12, 0], 'what was skipped is no loss')
})

test('while ClickHouse cannot say which positions its rows have, no log is begun', async (t) => {
  const directory = temporaryDirectory()
  const away = {
    rows: () => Promise.reject(new Error('ClickHouse is away')),
    stream: () => Promise.reject(new Error('ClickHouse is away')),
  } as unknown as Database
  await assert.rejects(startOwner(t, directory, 'away', 1e6, away), /ClickHouse is away/)
  assert.equal(existsSync(join(directory, 'log')), false)
})
