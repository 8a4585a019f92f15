/** The README is true: its commands work when they are pasted, its tables show the settings there are, its links lead somewhere. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { aggregatorSection } from '../aggregator/config.ts'
import { collectorSection } from '../collector/config.ts'
import { settingsTable } from '../proto/runtime/config-help.ts'
import { sharedSection } from '../proto/runtime/shared-config.ts'
import { eventually, freePort, kill, start, temporaryDirectory } from './support/programs.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const READMES = [
  'README.md',
  'collector/README.md',
  'aggregator/README.md',
  'proto/README.md',
  'test/README.md',
  'bench/README.md',
  'docker/README.md',
]

const TABLES = [
  { file: 'README.md', name: 'shared', table: settingsTable([sharedSection]) },
  { file: 'collector/README.md', name: 'collector', table: settingsTable([collectorSection]) },
  { file: 'aggregator/README.md', name: 'aggregator', table: settingsTable([aggregatorSection]) },
]

for (const { file, name, table } of TABLES) {
  test(`${file} lists every setting as the schema has it`, () => {
    const path = join(ROOT, file)
    const text = readFileSync(path, 'utf8')
    const between = new RegExp(`(<!-- settings: ${name} -->\n)[^]*?(<!-- end of settings -->)`)
    assert.match(text, between)
    const now = text.replace(between, (_, begin: string, end: string) => `${begin}${table}\n${end}`)
    if (process.env['UPDATE_README'] !== undefined) writeFileSync(path, now)
    else assert.equal(text, now, 'UPDATE_README=1 npm test -- readme writes it anew')
  })
}

test('links in the READMEs lead to files', () => {
  for (const file of READMES) {
    for (const [, target] of readFileSync(join(ROOT, file), 'utf8').matchAll(/\]\(([^)#]+)[^)]*\)/g)) {
      if (target!.startsWith('http')) continue
      assert.ok(existsSync(join(ROOT, dirname(file), target!)), `${file} links to ${target}`)
    }
  }
})

test('commands of the README work when they are pasted', { timeout: 180_000 }, async (t) => {
  const blocks = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/```sh\n([\s\S]*?)```/g)].map(
    // A rule's window of a minute is long for a test.
    ([, block]) => block!.replaceAll('interval: 1m', 'interval: 10s').replaceAll(':1m_', ':10s_'),
  )
  const commands = blocks.filter((block) => block.includes('curl') || block.includes('npm run replay'))
  assert.ok(commands.length >= 7)
  const directory = temporaryDirectory()
  const bash = promisify(execFile)
  const settings = blocks.find((block) => block.includes('fleetmeter.yaml <<'))!.replace(/^npm start.*$/m, '')
  await bash('bash', ['-c', settings], { cwd: directory })
  const ports = { collector: await freePort(), aggregator: await freePort() }
  // No token from outside: it is made and kept in the data directory, which is where the README looks for it.
  const program = await start(
    'standalone',
    {
      FLEETMETER_TOKEN: '',
      FLEETMETER_DATA_DIR: join(directory, 'data'),
      FLEETMETER_COLLECTOR_LISTEN: `127.0.0.1:${ports.collector}`,
      FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${ports.aggregator}`,
      FLEETMETER_COLLECTOR_HOST_INTERVAL_MS: '2000',
    },
    ['--config', join(directory, 'fleetmeter.yaml')],
  )
  t.after(() => kill(program))
  const paste = async (command: string): Promise<string> => {
    const here = command
      .replaceAll('127.0.0.1:8742', `127.0.0.1:${ports.collector}`)
      // It is built, and the data are elsewhere.
      .replace('npm run replay -- test', `node ${join(ROOT, 'dist/collector/replay/main.js')} ${join(ROOT, 'test')}`)
    return (await bash('bash', ['-c', here], { cwd: directory })).stdout
  }
  const answerOf = async (words: string): Promise<string> => paste(commands.find((c) => c.includes(words))!)
  const hasData = (answer: string): boolean => {
    const { data } = JSON.parse(answer) as { data?: unknown[] }
    return data !== undefined && data.length > 0
  }
  await eventually("this host's load", async () => hasData(await answerOf('name=node_load1')))
  const printed = /curl .*/.exec(program.output())![0]
  assert.ok(hasData(await paste(printed)), 'the command that npm start prints')
  assert.deepEqual(JSON.parse(await answerOf('/v1/metrics/batch')), { message: 'Request Successful.' })
  await eventually('the heartbeat', async () => hasData(await answerOf('name=pending_requests')))
  await eventually('its name', async () => (await answerOf('metrics/names')).includes('"kv_cache_usage"'))
  assert.match(
    await answerOf('/metrics |'),
    /^fleetmeter_collector_items_received_total\{.*door="host",kind="sample"\} [1-9]/m,
  )
  assert.deepEqual(JSON.parse(await answerOf('a-token-of-team-a')), { data: [] }, 'nothing of another tenant')
  assert.match(await answerOf('/v1/prices'), /"amount_micros":2500000/)
  assert.deepEqual(JSON.parse(await answerOf('--data-binary')), {
    dry_run: false,
    created: 2,
    replaced: 0,
    unchanged: 0,
  })
  assert.match(await answerOf('Accept: text/csv'), /,ada,vision,research,/)
  assert.match(await answerOf('npm run replay'), / 8 new, 0 duplicate, 0 refused\.$/m)
  assert.match(await answerOf('npm run replay'), / 0 new, 8 duplicate, 0 refused\.$/m)
  await eventually('the tasks of the recording', async () =>
    /^\{"data":\[\{.*\}\],"next_cursor":null\}/.test(await answerOf('/v1/tasks?project')),
  )
  assert.match(
    await answerOf('/v1/usage'),
    /^project,period,resource,unit,amount,tasks,cost_micros,currency\r\nvision,/,
  )
  await eventually('what was idle', async () =>
    /"node_id":"gpu-h100","gpu":"GPU-2a06f14d.*"attributed_gpu_seconds":"65.381"/.test(
      await answerOf('/v1/usage/nodes'),
    ),
  )
  await eventually('what the rule makes', async () => hasData(await answerOf('_by_instance_mode_rate')), 60_000)
})
