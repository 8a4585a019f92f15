import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { platform } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Figure } from '../../../collector/host/figure.ts'
import { FileSystems } from '../../../collector/host/file-systems.ts'
import { SystemFigures } from '../../../collector/host/system-figures.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually, temporaryDirectory } from '../../support/programs.ts'

function toolWith(stat: string, silentMs = 20_000) {
  const folder = temporaryDirectory()
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'stat'), `#!/bin/sh\necho "$@" >>"${folder}/calls"\n${stat}\n`)
  chmodSync(join(folder, 'stat'), 0o755)
  let now = 0
  const clock = { now: () => now, monotonic: () => now }
  const tool = { env: { PATH: `${folder}:/usr/bin:/bin` }, silentMs, clock, log: silentLogger }
  return {
    tool,
    later: (ms: number) => (now += ms),
    calls: () => readFileSync(join(folder, 'calls'), 'utf8').split('\n'),
  }
}

const NFS = 'server:/export /home/a\\040b nfs4 ro,hard 0 0\n'
const value = (figures: readonly Figure[], name: string) =>
  figures.find((f) => f.name === `node_filesystem_${name}`)?.value

test('SystemFigures gives processors, load and memory on whatever this is', async () => {
  const system = new SystemFigures(toolWith('exit 1').tool)
  const figures = await system.round(() => {})
  await system.fileSystems.stop()
  for (const name of ['node_cpu_seconds_total', 'node_load1'])
    assert.ok(
      figures.some((f) => f.name === name && Number.isFinite(f.value)),
      name,
    )
  assert.ok(figures.some((f) => f.name.startsWith('node_memory_')))
  if (platform() === 'linux') assert.ok(figures.some((f) => f.name === 'node_filesystem_size_bytes'))
})

test('a remote file system is asked by a process of its own', async () => {
  const { tool, calls } = toolWith('echo 4096 1000 400 300 50 20')
  const fileSystems = new FileSystems(tool, async () => NFS)
  const later: Figure[] = []
  assert.deepEqual(await fileSystems.figures((figures) => later.push(...figures)), [])
  await eventually('it answers', () => later.length > 0)
  assert.deepEqual(later[0]?.labels, { device: 'server:/export', mountpoint: '/home/a b', fstype: 'nfs4' })
  assert.deepEqual(
    ['size_bytes', 'free_bytes', 'avail_bytes', 'files', 'files_free', 'readonly', 'device_error'].map((n) =>
      value(later, n),
    ),
    [4_096_000, 1_638_400, 1_228_800, 50, 20, 1, 0],
  )
  assert.deepEqual(calls().slice(0, -1), ['-f -c %S %b %f %a %c %d -- /home/a b'])
})

test('a remote file system that never answers costs one process at a time, and is said', async () => {
  const { tool, calls, later: wait } = toolWith('sleep 600', 300)
  const fileSystems = new FileSystems(tool, async () => NFS)
  const later: Figure[] = []
  const round = () => fileSystems.figures((figures) => later.push(...figures))
  await round()
  for (let i = 0; i < 50; i++) await round()
  await eventually('it is given up', () => fileSystems.unanswered === 1)
  wait(59_000)
  await round()
  assert.equal(calls().length - 1, 1)
  assert.deepEqual([value(later, 'device_error'), value(later, 'size_bytes')], [1, undefined])
  await fileSystems.stop()
})

test('what stat prints in another form is no size', async () => {
  for (const output of ['', '1 2 3', 'a b c d e f', '4096 1 1 1 1 x']) {
    const fileSystems = new FileSystems(toolWith(`echo "${output}"`).tool, async () => NFS)
    const later: Figure[] = []
    await fileSystems.figures((figures) => later.push(...figures))
    await eventually('it is useless', () => fileSystems.unanswered === 1)
    assert.deepEqual(later, [], output)
    await fileSystems.stop()
  }
})
