/**
 * A full disk, a read-only one, no file left to open, an engine without memory: the program says on /readyz what is wrong, where and
 * what to do, refuses with 503 what it cannot keep, and goes on by itself when it is over. What was acknowledged is stored, once.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { SmallDisk } from '../soak/small-disk.ts'
import { NumberedSender } from '../support/numbered-sender.ts'
import { hasPeer, skip } from '../support/peers.ts'
import type { Env, Running } from '../support/programs.ts'
import {
  enginePid,
  eventually,
  freePort,
  kill,
  ready,
  scrape,
  start,
  temporaryDirectory,
  total,
} from '../support/programs.ts'
import { ReadOnly } from '../support/read-only.ts'

const MIB = 1024 * 1024
const ENGINE_DISK_BYTES = 64 * MIB
const ROUNDS = 15

interface World {
  readonly root: string
  readonly collector: Running
  readonly aggregator: Running
  readonly sender: NumberedSender
}

/** Collector and aggregator, each with a directory of its own below the root, `collector-data` and `aggregator-data`. */
async function startWorld(t: TestContext, root: string, env: Env = {}): Promise<World> {
  const port = await freePort()
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: join(root, 'aggregator-data'),
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${port}`,
    FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '200',
    FLEETMETER_AGGREGATOR_INSERT_AFTER_MS: '200',
    ...env,
  })
  t.after(() => kill(aggregator))
  const collector = await start('collector', {
    FLEETMETER_DATA_DIR: join(root, 'collector-data'),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_URL: aggregator.url,
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '100',
    FLEETMETER_COLLECTOR_BACKOFF_MAX_MS: '500',
    FLEETMETER_COLLECTOR_JOURNAL_SEGMENT_BYTES: '64KiB',
    ...env,
  })
  t.after(() => kill(collector))
  await ready(aggregator.url)
  await ready(collector.url)
  const sender = new NumberedSender(collector.url, 'numbered')
  t.after(() => sender.close())
  for (let i = 0; i < ROUNDS; i++) assert.equal((await sender.send()).status, 204)
  return { root, collector, aggregator, sender }
}

/** Nobody helps, nobody restarts: it is ready, takes samples, and everything that was acknowledged is stored once. */
async function recovered({ collector, aggregator, sender }: World): Promise<void> {
  await ready(collector.url)
  await ready(aggregator.url)
  for (let i = 0; i < ROUNDS; i++) assert.equal((await sender.send()).status, 204)
  await eventually(
    'everything is stored',
    async () => total(await scrape(collector.url), 'fleetmeter_collector_items_waiting') === 0,
    60_000,
  )
  await sender.compare()
  for (const { process, name, output } of [collector, aggregator])
    assert.equal(process.exitCode ?? process.signalCode, null, `${name} ended: ${output()}`)
}

/** What becomes of a new connection: `connected`, or the error's code. */
function connecting(url: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    socket.once('connect', () => resolve('connected'))
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    setTimeout(() => socket.destroy(), 1000)
  })
}

/** What an operator reads. */
async function notReady(url: string, expected: RegExp): Promise<void> {
  let text = ''
  await eventually(`${url}/readyz says ${expected}`, async () => {
    const answer = await fetch(`${url}/readyz`)
    text = await answer.text()
    return answer.status === 503 && expected.test(text)
  }).catch((error: unknown) => {
    throw new Error(`it says ${text}`, { cause: error })
  })
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
}

test('collector: a full disk', { timeout: 120_000 }, async (t) => {
  const root = temporaryDirectory()
  const disk = SmallDisk.mount(join(root, 'collector-data'), 8 * MIB)
  if (typeof disk === 'string') return skip(t, `no disk can be mounted: ${disk}`)
  t.after(() => disk.unmount())
  const world = await startWorld(t, root)
  const refusal = await world.sender.untilRefused(() => disk.fill())
  assert.deepEqual([refusal.status, refusal.headers['retry-after']], [503, '10'])
  assert.match(refusal.text, /the disk is full: free space on it/)
  await notReady(
    world.collector.url,
    /shard-0: Cannot (append|write) to the journal in \\".*collector-data\/collector\/journal\/samples-0\\": (ENOSPC|only).*free space/,
  )
  await sleep(1500) // the cursor is written meanwhile, for which there is room: that heals nothing
  disk.fill()
  await notReady(world.collector.url, /free space/)
  disk.free()
  await recovered(world)
})

test('collector: a disk that becomes read-only', { timeout: 120_000 }, async (t) => {
  const root = temporaryDirectory()
  mkdirSync(join(root, 'collector-data'))
  const world = await startWorld(t, root)
  const disk = ReadOnly.begin(join(root, 'collector-data', 'collector', 'journal'))
  if (typeof disk === 'string') return skip(t, `nothing can be mounted: ${disk}`)
  t.after(() => disk.end())
  const refusal = await world.sender.untilRefused()
  assert.deepEqual([refusal.status, refusal.headers['retry-after']], [503, '1'])
  assert.match(refusal.text, /EROFS/)
  await notReady(world.collector.url, /journal\/samples-0.*EROFS.*mount it read-write. No restart is needed/)
  // What is in the journal is readable: it is stored all the same.
  await eventually('what waited is sent', async () => {
    const metrics = await scrape(world.aggregator.url)
    return total(metrics, 'fleetmeter_aggregator_items_stored_total') >= world.sender.acknowledged.length * 100
  })
  disk.lift()
  await recovered(world)
})

test('collector: no file left to open, for its journal and for connections', { timeout: 120_000 }, async (t) => {
  if (!hasPeer(t, 'prlimit', '--version', 'Debian package util-linux')) return
  const world = await startWorld(t, temporaryDirectory())
  const { collector, sender } = world
  const pid = collector.process.pid!
  const before = /^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))![1]!
  const limit = (files: string): void => {
    assert.equal(spawnSync('prlimit', ['--pid', String(pid), `--nofile=${files}:`]).status, 0)
  }
  limit('5') // fewer than it has open
  const refusal = await sender.untilRefused()
  assert.deepEqual([refusal.status, refusal.headers['retry-after']], [503, '1'])
  assert.match(refusal.text, /EMFILE/)
  // Over the connection that is open it answers; a new one is refused at once, and not left waiting while the process tries in vain.
  await eventually('connections are refused', async () => (await connecting(collector.url)) === 'ECONNREFUSED')
  const state = await sender.ask('/readyz')
  assert.equal(state.status, 503)
  assert.match(state.text, /"receive":.*Cannot accept connections: EMFILE.*raise its limit of open files/)
  assert.match(state.text, /"shard-0":.*journal\/samples-0.*EMFILE.*raise its limit of open files/)
  assert.equal((await sender.ask('/healthz')).status, 200)
  limit(before)
  await recovered(world)
})

test('aggregator: a full disk', { timeout: 120_000 }, async (t) => {
  const root = temporaryDirectory()
  const disk = SmallDisk.mount(join(root, 'aggregator-data'), ENGINE_DISK_BYTES)
  if (typeof disk === 'string') return skip(t, `no disk can be mounted: ${disk}`)
  t.after(() => disk.unmount())
  const world = await startWorld(t, root)
  disk.fill()
  for (let i = 0; i < ROUNDS; i++) assert.equal((await world.sender.send()).status, 204, 'the collector keeps it')
  await notReady(
    world.aggregator.url,
    /store: ClickHouse does not execute.*the disk is full: free space.*aggregator\/engine/,
  )
  disk.fill()
  await notReady(world.aggregator.url, /free space/)
  assert.ok(total(await scrape(world.collector.url), 'fleetmeter_collector_items_waiting') > 0)
  disk.free()
  await recovered(world)
})

test('aggregator: a disk that becomes read-only', { timeout: 120_000 }, async (t) => {
  const world = await startWorld(t, temporaryDirectory())
  const disk = ReadOnly.begin(join(world.root, 'aggregator-data', 'aggregator', 'engine'))
  if (typeof disk === 'string') return skip(t, `nothing can be mounted: ${disk}`)
  t.after(() => disk.end())
  for (let i = 0; i < ROUNDS; i++) assert.equal((await world.sender.send()).status, 204, 'the collector keeps it')
  await notReady(world.aggregator.url, /store: ClickHouse does not execute.*mount it read-write.*aggregator\/engine/)
  disk.lift()
  await recovered(world)
})

test('aggregator: an engine that gets no more memory from the system, and ends by it', {
  timeout: 180_000,
}, async (t) => {
  if (!hasPeer(t, 'prlimit', '--version', 'Debian package util-linux')) return
  const world = await startWorld(t, temporaryDirectory())
  const engine = enginePid(world.aggregator)!
  const kib = Number(/^VmSize:\s+(\d+)/m.exec(readFileSync(`/proc/${engine}/status`, 'utf8'))![1])
  assert.equal(spawnSync('prlimit', ['--pid', String(engine), `--as=${kib * 1024}:`]).status, 0)
  // Until it fails at an insert or ends: the next one has no such limit.
  let failed = 0
  await eventually(
    'it cannot go on',
    async () => {
      assert.equal((await world.sender.send()).status, 204, 'the collector keeps it')
      failed = total(await scrape(world.aggregator.url), 'fleetmeter_aggregator_store_failures_total')
      return failed > 0 || enginePid(world.aggregator) !== engine
    },
    90_000,
  )
  t.diagnostic(`${failed} inserts failed; the engine ${enginePid(world.aggregator) === engine ? 'lives' : 'ended'}`)
  if (enginePid(world.aggregator) === engine) spawnSync('prlimit', ['--pid', String(engine), '--as=unlimited:'])
  await recovered(world)
})
