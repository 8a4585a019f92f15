/** docker/fleetmeter.yaml is what the schemas say: every setting, at its default, and nothing else. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { aggregatorSection } from '../../../aggregator/config.ts'
import { collectorSection } from '../../../collector/config.ts'
import { keysOf, settingOf } from '../../../proto/runtime/config.ts'
import { groupsOf } from '../../../proto/runtime/config-help.ts'
import { sampleFile } from '../../../proto/runtime/config-sample.ts'
import { readConfig } from '../../../proto/runtime/load-config.ts'
import { sharedSection } from '../../../proto/runtime/shared-config.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const SAMPLE = fileURLToPath(new URL('../../../docker/fleetmeter.yaml', import.meta.url))
const SECTIONS = [sharedSection, collectorSection, aggregatorSection]
const PROGRAM = { name: 'fleetmeter', about: 'a test.', command: 'npm start --' }
const HEAD = [
  'Every setting of fleetmeter at its default. Uncomment what you change; the file may be given to collector, aggregator and',
  'npm start alike:',
  '',
  'npm start -- --config fleetmeter.yaml',
  '',
  'In brackets: its name in the environment, which wins over this file, and whether a running program takes a changed value',
  'over when it is told to read the file again (SIGHUP: kill -HUP), or with a restart.',
]

const read = (path: string) => readConfig(PROGRAM, SECTIONS, [], { argv: ['--config', path], env: {} })

test('docker/fleetmeter.yaml is what the schemas say', () => {
  const now = sampleFile(HEAD, SECTIONS)
  if (process.env['UPDATE_README'] !== undefined) writeFileSync(SAMPLE, now)
  else assert.equal(readFileSync(SAMPLE, 'utf8'), now, 'UPDATE_README=1 npm test -- config-sample writes it anew')
})

test('docker/fleetmeter.yaml changes nothing as it is, and uncommented', () => {
  const sample = readFileSync(SAMPLE, 'utf8')
  const defaults = SECTIONS.map((section) =>
    Object.fromEntries(keysOf(section).map((key) => [key, settingOf(section, key).fallback])),
  )
  assert.deepEqual(read(SAMPLE).values, defaults)
  const path = join(temporaryDirectory(), 'all.yaml')
  writeFileSync(path, sample.replaceAll(/^( *)#(?! \S|$)/gm, '$1'))
  const { values, origins } = read(path)
  assert.deepEqual(values, defaults)
  for (const [name, origin] of origins) assert.match(origin, /all\.yaml:\d+$/, `${name} stands in the sample`)
})

test('topics and reloads of the sections name settings, and no word names two topics', () => {
  for (const section of SECTIONS) {
    const keys = new Set(keysOf(section))
    for (const key of [...Object.keys(section.topics ?? {}), ...(section.reloads ?? [])])
      assert.ok(keys.has(key), `${section.name} ${key}`)
  }
  const words = SECTIONS.flatMap(groupsOf).map(({ topic }) => topic[0])
  assert.deepEqual([...new Set(words)], words)
})
