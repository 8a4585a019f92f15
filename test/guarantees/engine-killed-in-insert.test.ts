/**
 * The embedded engine is killed at the k-th rename of an insert into several partitions, for every k: some partitions are in,
 * others are not. The store inserts the same rows again, and every sample is there once.
 *
 * Control: with ClickHouse's own deduplication tokens, which we do not use, the same kill loses a partition: the engine keeps
 * the token before it renames the part into place, and takes the second attempt for a repeat.
 */
import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { batchOf, definition } from '../support/batches.ts'
import type { TestEngine } from '../support/engine.ts'
import { startEngine } from '../support/engine.ts'
import { startRig } from '../support/intake.ts'
import { hasPeer } from '../support/peers.ts'
import { eventually, temporaryDirectory } from '../support/programs.ts'

const DAY = 86_400_000
const PARTITIONS = 4
const KILLS_MAX = 30

/** Has strace kill the engine at its k-th rename from now on. Resolves once it watches. */
async function killAtRename(engine: TestEngine, k: number): Promise<ChildProcess> {
  const strace = spawn(
    'strace',
    [
      '-f',
      '-qq',
      '-e',
      'trace=rename,renameat,renameat2',
      '-e',
      `inject=rename,renameat,renameat2:signal=SIGKILL:when=${k}`,
      '-o',
      '/dev/null',
      '-p',
      String(engine.process.pid),
    ],
    { stdio: 'ignore' },
  )
  await eventually('strace watches', () => {
    return !/^TracerPid:\t0$/m.test(readFileSync(`/proc/${engine.process.pid}/status`, 'utf8'))
  })
  return strace
}

/** For k = 1, 2, …: runs the insert under the knife, until one gets through unharmed. @returns how many were hit */
async function atEveryRename(
  t: TestContext,
  engine: TestEngine,
  insert: (k: number) => Promise<void>,
): Promise<number> {
  let stopped: ChildProcess | undefined
  t.after(() => {
    stopped?.kill('SIGKILL')
  })
  for (let k = 1; k <= KILLS_MAX; k++) {
    const { restarts } = engine.process
    stopped = await killAtRename(engine, k)
    await insert(k)
    const hit = engine.process.restarts > restarts || !engine.process.health().ready
    stopped.kill('SIGKILL')
    await eventually('the engine is there', () => engine.process.health().ready)
    if (!hit) return k - 1
  }
  throw new Error(`still hit at the ${KILLS_MAX}th rename: raise KILLS_MAX`)
}

test('the engine killed at any rename of an insert: every sample is there once', { timeout: 300_000 }, async (t) => {
  if (!hasPeer(t, 'strace', '--version', 'Debian package strace')) return
  const directory = temporaryDirectory()
  const engine = await startEngine(join(directory, 'engine'))
  t.after(() => engine.stop())
  const rig = await startRig(engine.db, 'fleetmeter', join(directory, 'quarantine'), Date.now())
  t.after(() => rig.stop())
  const today = Math.floor(Date.now() / DAY) * DAY
  let sent = 0
  const hits = await atEveryRename(t, engine, async (k) => {
    const points = Array.from({ length: PARTITIONS }, (_, day) => ({
      ref: 1,
      time: today - day * DAY + k,
      at: k,
      value: k,
    }))
    sent += points.length
    const answer = await rig.intake.receive(batchOf(points, [definition(1, 'm', {})], { from: sent - 4, to: sent }))
    assert.equal(answer.kind, 'stored')
  })
  t.diagnostic(`killed at ${hits} renames`)
  assert.ok(hits >= PARTITIONS, `only ${hits} renames were hit`)
  const rows = await engine.db.rows<{ d: string; n: string }>(
    'SELECT toString(toDate(ts)) AS d, toString(count()) AS n FROM fleetmeter.points GROUP BY d',
  )
  assert.deepEqual(
    rows.map(({ n }) => Number(n)),
    Array.from({ length: PARTITIONS }, () => hits + 1),
  )
})

test('control: deduplication tokens lose a partition', { timeout: 300_000 }, async (t) => {
  if (!hasPeer(t, 'strace', '--version', 'Debian package strace')) return
  const engine = await startEngine(join(temporaryDirectory(), 'engine'))
  t.after(() => engine.stop())
  await engine.db.command('CREATE DATABASE tokens')
  await engine.db.command(
    `CREATE TABLE tokens.samples (d Date, n UInt32) ENGINE = MergeTree PARTITION BY d ORDER BY n
     SETTINGS non_replicated_deduplication_window = 1000, fsync_after_insert = 1, fsync_part_directory = 1`,
  )
  let attempts = 0
  await atEveryRename(t, engine, async (k) => {
    attempts++
    const values = Array.from({ length: PARTITIONS }, (_, day) => `('2026-01-0${day + 1}', ${k})`).join(', ')
    await eventually('inserted', async () => {
      await engine.db.command(
        `INSERT INTO tokens.samples SETTINGS insert_deduplication_token = 'write-${k}' VALUES ${values}`,
      )
      return true
    })
  })
  const [row] = await engine.db.rows<{ n: string }>('SELECT toString(count()) AS n FROM tokens.samples')
  assert.ok(Number(row!.n) < attempts * PARTITIONS, `${row!.n} rows of ${attempts * PARTITIONS}: tokens lost nothing`)
})
