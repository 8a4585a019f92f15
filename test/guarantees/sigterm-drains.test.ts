/**
 * SIGTERM or Ctrl-C to `npm start` under load: it ends within fifteen seconds with exit code 0, nothing of it is left, and
 * everything that was acknowledged is in ClickHouse, with nothing waiting in the journal.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startEngine } from '../support/engine.ts'
import { Generator } from '../support/generator.ts'
import type { Running } from '../support/programs.ts'
import { childrenOf, freePort, kill, ready, start, temporaryDirectory, terminate } from '../support/programs.ts'
import { Random, testSeed } from '../support/random.ts'

/** What stops it, and how the signal is sent. */
const ENDINGS: readonly (readonly [string, (program: Running) => void])[] = [
  ['SIGTERM', (program) => void program.process.kill('SIGTERM')],
  [
    'Ctrl-C, which a terminal sends to the whole process group and npm once more,',
    (program) => {
      process.kill(-program.process.pid!, 'SIGINT')
      program.process.kill('SIGINT')
    },
  ],
]

for (const [name, send] of ENDINGS)
  test(`${name} under load drains within fifteen seconds`, { timeout: 120_000 }, async (t) => {
    const data = temporaryDirectory()
    const program = await start('standalone', {
      FLEETMETER_DATA_DIR: data,
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${await freePort()}`,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
      FLEETMETER_COLLECTOR_HOST: 'false',
      FLEETMETER_COLLECTOR_SHARDS: '2',
    })
    t.after(() => kill(program))
    await ready(program.url)
    const generator = new Generator(program.url, new Random(testSeed()), 500, Date.now() - 600_000)
    generator.run(4, 5)
    await sleep(3000)
    const below = childrenOf(program.process.pid!).flatMap((pid) => [pid, ...childrenOf(pid)])
    assert.equal(below.length, 3, 'collector, aggregator, engine')
    const since = performance.now()
    send(program)
    await sleep(20)
    await generator.stop(true)
    const how = await program.exited
    const ms = performance.now() - since
    assert.equal(how, 0, program.output())
    assert.ok(ms < 15_000, `${ms} ms`)
    for (const pid of below) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is left`)
    t.diagnostic(`${generator.acknowledgedSamples} samples, drained in ${Math.round(ms)} ms`)
    const engine = await startEngine(join(data, 'aggregator', 'engine'))
    const [row] = await engine.db.rows<{ n: string }>('SELECT toString(count()) AS n FROM fleetmeter.points')
    await engine.stop()
    // A request may have been written without its answer having arrived.
    assert.ok(Number(row!.n) >= generator.acknowledgedSamples)
    assert.ok(Number(row!.n) <= generator.acknowledgedSamples + 4 * 125)
  })

test('killed with -9, npm start takes its children along, and starts again on the same directory', {
  timeout: 120_000,
}, async (t) => {
  const env = {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${await freePort()}`,
    FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${await freePort()}`,
  }
  const first = await start('standalone', env)
  await kill(first)
  const second = await start('standalone', env)
  t.after(() => kill(second))
  await ready(second.url)
  assert.equal((await terminate(second)).how, 0)
})

test('npm start that was started as a child stops when its parent is gone', { timeout: 120_000 }, async (t) => {
  const program = await start('standalone', {
    FLEETMETER_DATA_DIR: temporaryDirectory(),
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
  })
  t.after(() => kill(program))
  const below = childrenOf(program.process.pid!).flatMap((pid) => [pid, ...childrenOf(pid)])
  program.process.stdin!.end() // as a parent that is killed closes it
  assert.equal(await program.exited, 0, program.output())
  for (const pid of below) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is left`)
})

test('SIGTERM while npm start is still starting ends it with 0, and nothing is left', {
  timeout: 120_000,
}, async () => {
  for (const after of [100, 400, 700, 1000]) {
    const child = spawn(process.execPath, ['dist/proto/standalone/main.js'], {
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: {
        PATH: process.env['PATH'],
        FLEETMETER_LOG_LEVEL: 'silent',
        FLEETMETER_DATA_DIR: temporaryDirectory(),
        FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
        FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
      },
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)))
    await sleep(after)
    const below = childrenOf(child.pid!).flatMap((pid) => [pid, ...childrenOf(pid)])
    child.kill('SIGTERM')
    const how = await ended
    // Node itself takes a moment before any of our code runs, and is killed by the signal until then.
    if (below.length > 0) assert.equal(how, 0, `after ${after} ms`)
    for (const pid of below) assert.ok(!existsSync(`/proc/${pid}`), `process ${pid} is left, after ${after} ms`)
  }
})
