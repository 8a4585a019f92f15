import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Tool } from '../../../collector/host/tool.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually, isAlive, temporaryDirectory } from '../../support/programs.ts'

/** A tool that is this shell script, and a clock that only the test moves. */
function toolOf(script: string, silentMs = 10_000) {
  const folder = temporaryDirectory()
  const path = join(folder, 'tool')
  const write = (text: string): void => {
    writeFileSync(path, `#!/bin/sh\n${text}\n`)
    chmodSync(path, 0o755)
  }
  write(script)
  let now = 0
  const tool = new Tool({
    names: ['missing', 'tool'],
    env: { PATH: `${folder}:/usr/bin:/bin` },
    silentMs,
    clock: { now: () => now, monotonic: () => now },
    log: silentLogger,
  })
  return { tool, folder, write, later: (ms: number) => (now += ms) }
}

test('Tool.ask() gives the lines as they come, and all of it at the end', async () => {
  const { tool } = toolOf('echo one; echo two; printf three')
  const lines: string[] = []
  const answer = await tool.ask({ args: [], onLine: (line) => lines.push(line) > 0 })
  assert.deepEqual(answer, { kind: 'ok', output: 'one\ntwo\nthree' })
  assert.deepEqual(lines, ['one', 'two', 'three'])
  assert.deepEqual([tool.state, tool.name, tool.due], ['answering', 'tool', true])
})

test('a tool that is missing is absent, costs no process, and is looked for again after five minutes', async () => {
  const { tool, later, folder } = toolOf('true')
  chmodSync(join(folder, 'tool'), 0o600) // no program
  assert.deepEqual(await tool.ask({ args: [] }), { kind: 'absent' })
  assert.deepEqual([tool.state, tool.detail, tool.failures], ['absent', 'missing or tool is not installed', 0])
  later(299_999)
  assert.equal(tool.due, false)
  later(1)
  chmodSync(join(folder, 'tool'), 0o700)
  assert.equal(tool.due, true)
  assert.equal((await tool.ask({ args: [] })).kind, 'ok')
})

test('a tool that fails is asked again after a pause that doubles up to five minutes, and says why', async () => {
  const { tool, later, write } = toolOf('echo "the driver is gone"; exit 9')
  for (const pause of [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]) {
    assert.equal((await tool.ask({ args: [] })).kind, 'failed')
    assert.deepEqual([tool.state, tool.detail], ['failing', 'it ended with 9: the driver is gone'])
    later(pause - 1)
    assert.equal(tool.due, false)
    later(1)
    assert.equal(tool.due, true)
  }
  write('echo fine')
  await tool.ask({ args: [], onLine: () => true })
  assert.deepEqual([tool.state, tool.detail, tool.failures], ['answering', '', 7])
})

test('a tool that hangs is killed with what it started, and rests for a minute', async () => {
  const { tool, folder, later } = toolOf('sleep 600 & echo $! >"$(dirname "$0")/pid"; wait', 300)
  const answer = await tool.ask({ args: [] })
  assert.equal(answer.kind, 'failed')
  assert.deepEqual([tool.state, tool.detail], ['silent', 'it gave no answer for 300 ms and is being ended'])
  const pid = Number(readFileSync(join(folder, 'pid'), 'utf8'))
  await eventually('what it started is gone', async () => !isAlive(pid))
  later(59_999)
  assert.equal(tool.due, false)
  later(1)
  assert.equal(tool.due, true)
})

test('while a process of it is left there is no second one', async () => {
  const { tool, folder } = toolOf('echo started >>"$(dirname "$0")/starts"; sleep 600')
  const asking = tool.ask({ args: [] })
  await eventually('it runs', async () => existsSync(join(folder, 'starts')))
  assert.equal(tool.due, false)
  await tool.stop()
  await asking
  assert.equal(readFileSync(join(folder, 'starts'), 'utf8'), 'started\n')
})

test('a tool that answers in a rhythm is killed once no answer comes, though it talks', async () => {
  const { tool } = toolOf('echo row; while true; do echo "GPU is lost"; sleep 0.05; done', 300)
  const answer = await tool.ask({ args: [], everyMs: 100, onLine: (line) => line === 'row' })
  assert.equal(answer.kind, 'failed')
  assert.equal(tool.state, 'silent')
})

test('a tool that answers in a rhythm and ends by itself has failed; one that was told to quit has not', async () => {
  const { tool } = toolOf('echo row; exit 0')
  assert.equal((await tool.ask({ args: [], everyMs: 100, onLine: () => true })).kind, 'failed')
  assert.equal(tool.state, 'failing')
  const { tool: other } = toolOf('while true; do echo row; sleep 0.05; done')
  const answer = await other.ask({
    args: [],
    everyMs: 100,
    onLine: () => {
      other.quit()
      return true
    },
  })
  assert.equal(answer.kind, 'quit')
  assert.deepEqual([other.state, other.failures, other.due], ['answering', 0, true])
})

test('a tool that was told to quit before it ran does not run', async () => {
  const { tool, folder } = toolOf('echo started >>"$(dirname "$0")/starts"; sleep 600')
  const asking = tool.ask({ args: [], everyMs: 100 })
  tool.quit()
  await asking
  await tool.stop()
  await tool.ask({ args: [] })
  assert.equal(existsSync(join(folder, 'starts')), false)
})

test('output and lines are bounded', async () => {
  const { tool } = toolOf('yes a line')
  assert.equal((await tool.ask({ args: [] })).kind, 'failed')
  assert.match(tool.detail, /more than 4194304 bytes/)
  const { tool: other } = toolOf('yes | tr -d "\\n"')
  assert.equal((await other.ask({ args: [] })).kind, 'failed')
  assert.match(other.detail, /a line of more than 65536 bytes/)
})

test('a tool sees nothing of our environment but what it is given', async () => {
  const { tool } = toolOf('env')
  const answer = await tool.ask({ args: [] })
  assert.ok(answer.kind === 'ok')
  const names = answer.output
    .trim()
    .split('\n')
    .map((line) => line.split('=')[0]!)
  assert.deepEqual(
    names.filter((name) => !['PATH', 'PWD', 'SHLVL', '_', 'OLDPWD'].includes(name)),
    [],
  )
})

/** Opens files until none is left, then asks. */
const WITHOUT_FILES = `
import { openSync } from 'node:fs'
import { Tool } from '${new URL('../../../collector/host/tool.ts', import.meta.url)}'
const log = { info() {}, warn() {} }
const clock = { now: () => 0, monotonic: () => 0 }
const tool = new Tool({ names: ['true'], env: { PATH: '/usr/bin:/bin' }, silentMs: 5000, clock, log })
try { for (;;) openSync('/dev/null', 'r') } catch {}
const { kind } = await tool.ask({ args: [] })
console.log([kind, tool.state, tool.due, tool.detail].join())
`

test('a tool that cannot be started for want of files fails as others do, and is asked again later', () => {
  const { stdout, stderr } = spawnSync(
    'sh',
    [
      '-c',
      'ulimit -n 100 && exec "$0" "$@"',
      process.execPath,
      '--import',
      'tsx',
      '--input-type=module',
      '-e',
      WITHOUT_FILES,
    ],
    { encoding: 'utf8' },
  )
  assert.match(stdout, /^failed,failing,false,it cannot be started: .*EMFILE/, stderr)
})

test('what a tool started and left behind, with its pipes, is not waited for', { timeout: 20_000 }, async () => {
  const { tool } = toolOf('setsid sleep 60 & echo $! >&2; exit 18')
  const answer = await tool.ask({ args: [] })
  assert.deepEqual([answer.kind, tool.state], ['failed', 'failing'])
  process.kill(Number((answer as { output: string }).output))
})
