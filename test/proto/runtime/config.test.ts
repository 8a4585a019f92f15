import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Section } from '../../../proto/runtime/config.ts'
import { bytes, flag, formatBytes, integer, list, oneOf, text } from '../../../proto/runtime/config.ts'
import { loadConfig } from '../../../proto/runtime/load-config.ts'
import { temporaryDirectory } from '../../support/programs.ts'

interface Shared {
  readonly dataDir: string
  readonly token: string
}
interface Own {
  readonly limit: number
  readonly bytesMax: number
  readonly on: boolean
  readonly mode: 'a' | 'b'
  readonly names: readonly string[]
}

const shared: Section<Shared> = {
  name: '',
  settings: { dataDir: text('./data', 'Where.'), token: text('', 'Secret.', { aliases: ['OLD_TOKEN'], secret: true }) },
}
const own: Section<Own> = {
  name: 'app',
  topics: { limit: ['numbers', 'Numbers'], bytesMax: ['sizes', 'Sizes and more'] },
  reloads: ['limit'],
  settings: {
    limit: integer(5, 1, 10, 'How many.'),
    bytesMax: bytes(4096, 1, 'Size.'),
    on: flag(true, 'Whether.'),
    mode: oneOf(['a', 'b'], 'a', 'Which.'),
    names: list(['x'], 'Names.'),
  },
}
const PROGRAM = { name: 'app', about: 'tests.', command: 'npm run app --' }
const load = (argv: string[], env: Record<string, string> = {}) =>
  loadConfig(PROGRAM, shared, own, ['other'], { argv, env })

function problems(argv: string[], env: Record<string, string> = {}): string {
  try {
    load(argv, env)
    return ''
  } catch (error) {
    assert.equal((error as { code: string }).code, 'FM_CONFIG')
    return (error as Error).message
  }
}

test('loadConfig: default < file < environment < flag', () => {
  const file = join(temporaryDirectory(), 'c.yaml')
  writeFileSync(
    file,
    'data_dir: /from/file\napp:\n  limit: 2\n  bytes_max: 2MiB\n  on: false\n  names: [p, q]\nother:\n  anything: 1\n',
  )
  const fromFile = load(['--config', file])
  assert.deepEqual(
    { ...fromFile.shared, ...fromFile.own },
    { dataDir: '/from/file', token: '', limit: 2, bytesMax: 2 << 20, on: false, mode: 'a', names: ['p', 'q'] },
  )
  const fromEnv = load([`--config=${file}`], {
    FLEETMETER_APP_LIMIT: '3',
    FLEETMETER_APP_NAMES: 'm, n',
    OLD_TOKEN: 's',
    FLEETMETER_APP_ON: 'yes',
  })
  assert.deepEqual(
    [fromEnv.own.limit, fromEnv.own.names, fromEnv.shared.token, fromEnv.own.on],
    [3, ['m', 'n'], 's', true],
  )
  assert.equal(load(['--app-limit', '4'], { FLEETMETER_APP_LIMIT: '3' }).own.limit, 4)
  assert.equal(load([], { FLEETMETER_APP_LIMIT: '' }).own.limit, 5, 'an empty variable is none')
})

test('loadConfig says all that is wrong at once, with key, value and what is allowed', () => {
  const message = problems(['--app-limit', '11', '--app-limt=3', 'stray'], {
    FLEETMETER_APP_BYTES_MAX: 'many',
    FLEETMETER_APP_MODE: 'c',
    FLEETMETER_APP_LIMT: '1',
  })
  for (const part of [
    '--app-limit: "11" is not allowed: expected a whole number from 1 to 10',
    '--app-limt: there is no such flag (did you mean --app-limit?)',
    '"stray": expected a flag',
    'FLEETMETER_APP_BYTES_MAX: "many" is not allowed',
    'expected one of a, b',
    'FLEETMETER_APP_LIMT: there is no such setting (did you mean FLEETMETER_APP_LIMIT?)',
  ]) {
    assert.ok(message.includes(part), `${part}\nin\n${message}`)
  }
})

test('loadConfig never shows a secret', () => {
  assert.ok(!problems(['--token='], { FLEETMETER_APP_LIMIT: 'x', OLD_TOKEN: 'sesame' }).includes('sesame'))
  const file = join(temporaryDirectory(), 'c.yaml')
  writeFileSync(file, 'data_dir: x\ntoken: a: sesame\n')
  const message = problems(['--config', file])
  assert.match(message, /cannot be read as YAML: .* at line 2, column 8/)
  assert.ok(!message.includes('sesame'), 'the place is named and not shown')
  const { print } = load(['--print-config'], { OLD_TOKEN: 'sesame' })
  assert.match(print ?? '', /token: "\(hidden\)"/)
  assert.match(print ?? '', /^app:\n {2}limit: 5/m)
})

test('loadConfig passes over the settings of other programs', () => {
  assert.equal(problems(['--other-listen', 'x'], { FLEETMETER_OTHER_LISTEN: 'x' }), '')
})

test('loadConfig says what is wrong with the file', () => {
  const file = join(temporaryDirectory(), 'c.yaml')
  for (const [content, part] of [
    ['app: [1]', 'app: expected settings below it'],
    ['app:\n  limitt: 1', 'app.limitt: there is no such setting (did you mean limit?)'],
    ['- 1', 'expected sections and settings, got a list'],
    ['a: b: c', 'cannot be read as YAML'],
    [' \n', 'it is empty'],
    ['dat_dir: x', 'did you mean data_dir?'],
  ] as const) {
    writeFileSync(file, content)
    assert.ok(problems(['--config', file]).includes(part), `${part}: ${problems(['--config', file])}`)
  }
  assert.match(problems(['--config', '/nowhere.yaml']), /cannot be read/)
})

test('loadConfig names the line of what is wrong in the file, and the section of a setting that stands elsewhere', () => {
  const file = join(temporaryDirectory(), 'c.yaml')
  writeFileSync(file, '# a comment\n\nlimit: 3\napp:\n  mode: b\n\n  limit: 99\n  data_dir: x\n')
  const message = problems(['--config', file])
  assert.match(message, /has 3 problems/)
  for (const part of [
    `${file}:3: limit: there is no such setting (did you mean app.limit?)`,
    `${file}:7: app.limit: "99" is not allowed: expected a whole number from 1 to 10`,
    `${file}:8: app.data_dir: there is no such setting (did you mean data_dir, in no section?)`,
  ])
    assert.ok(message.includes(part), `${part}\nin\n${message}`)
})

test('loadConfig cuts a long wrong value short', () => {
  const message = problems(['--app-limit', 'x'.repeat(10_000)])
  assert.ok(message.length < 400 && message.includes('xxx…'), message)
})

test('loadConfig --print-config is a file that says where each value came from', () => {
  const file = join(temporaryDirectory(), 'c.yaml')
  writeFileSync(file, 'app:\n  limit: 2\n  bytes_max: 2097152\n')
  const { print } = load(['--print-config', '--config', file, '--app-on', 'no'], { FLEETMETER_APP_NAMES: 'm,n' })
  const lines = print!.split('\n')
  for (const line of [
    /^data_dir: "\.\/data" +# default$/,
    new RegExp(`^ {2}limit: 2 +# ${file}:2$`),
    new RegExp(`^ {2}bytes_max: 2MiB +# ${file}:3$`),
    /^ {2}on: false +# flag --app-on$/,
    /^ {2}names: \["m","n"\] +# environment FLEETMETER_APP_NAMES$/,
  ])
    assert.ok(
      lines.some((one) => line.test(one)),
      `${line}\nin\n${print}`,
    )
  writeFileSync(file, print!)
  assert.deepEqual(
    load(['--config', file]).own,
    load(['--app-on=no', '--app-limit=2', '--app-bytes-max=2MiB', '--app-names=m,n']).own,
  )
})

test('loadConfig --help fits the width and lists every setting; of a topic or a name, all about it', () => {
  const help = (topic: string[], columns?: number): string =>
    loadConfig(PROGRAM, shared, own, ['other'], { argv: ['--help', ...topic], env: {}, columns }).print!
  const brief = help([])
  for (const part of [
    'npm run app -- [--config FILE]',
    '--app-bytes-max SIZE',
    '4KiB',
    '--app-mode a|b',
    '*--app-limit',
  ])
    assert.ok(brief.includes(part), part)
  for (const columns of [40, 60, 100]) {
    const tooLong = help(['all'], columns)
      .split('\n')
      .filter((line) => line.length > columns && line.trim().includes(' '))
    assert.deepEqual(tooLong, [], `at ${columns}`)
  }
  for (const name of ['OLD_TOKEN', 'token', 'FLEETMETER_TOKEN'])
    assert.match(help([name]), /--token TEXT\n +Secret\.\n.*environment FLEETMETER_TOKEN, OLD_TOKEN/, name)
  assert.match(help(['sizes']), /Size\./)
  assert.doesNotMatch(help(['sizes']), /--token/)
  assert.match(help(['size']), /no topic and no setting "size" \(did you mean sizes\?\)/)
  assert.match(load(['--help', '--app-limit', '99']).print ?? '', /--app-limit/, 'help is given whatever else is wrong')
})

test('formatBytes', () => {
  assert.deepEqual([1, 1024, 1536, 4 << 20].map(formatBytes), ['1', '1KiB', '1536', '4MiB'])
})
