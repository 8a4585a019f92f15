import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { LoadedConfig } from '../../../proto/runtime/load-config.ts'
import { loadConfig } from '../../../proto/runtime/load-config.ts'
import type { SharedConfig } from '../../../proto/runtime/shared-config.ts'
import { sharedSection } from '../../../proto/runtime/shared-config.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

function load(env: Record<string, string>, argv: string[] = []): LoadedConfig<SharedConfig, object> {
  return loadConfig({ name: 'app', about: 'tests', command: 'app' }, sharedSection, { name: 'app', settings: {} }, [], {
    argv,
    env,
  })
}

/** What is wrong with a list of keys, a line each. */
function problems(keys: unknown): string[] {
  try {
    load({ FLEETMETER_KEYS: typeof keys === 'string' ? keys : JSON.stringify(keys) })
  } catch (error) {
    assert.equal((error as { code: string }).code, 'FM_CONFIG')
    return (error as Error).message.split('\n').slice(1)
  }
  return []
}

const good = { name: 'team-a', token: 'sesame', tenant: 'a', may: ['write'] }

test('keys are read from YAML and from JSON in the environment, tokens or their digests', () => {
  const file = join(temporaryDirectory(), 'c.yaml')
  writeFileSync(
    file,
    `keys:\n  - { name: team-a, token: sesame, tenant: a, tenants: [b, '*'], may: [read, write] }\n  - name: c\n    token_sha256: ${sha256('other').toUpperCase()}\n    may: [forward]\n`,
  )
  const expected = [
    { name: 'team-a', tokenSha256: sha256('sesame'), tenant: 'a', tenants: ['b', '*'], may: ['write', 'read'] },
    { name: 'c', tokenSha256: sha256('other'), tenant: undefined, tenants: [], may: ['forward'] },
  ]
  assert.deepEqual(load({}, ['--config', file]).shared.keys, expected)
  const [first] = load({ FLEETMETER_KEYS: JSON.stringify([good]) }).shared.keys
  assert.deepEqual(first, { ...expected[0], tenants: [], may: ['write'] })
  assert.deepEqual(load({}).shared.keys, [])
})

test('keys: everything that is wrong is said at once, with the key that it is about', () => {
  const all = problems([
    good,
    { ...good, token: 'x' },
    { ...good, name: 'same-token' },
    { name: 'nothing' },
    { ...good, name: 'a b', token: 'y' },
    { ...good, name: 'both', token: 'z', token_sha256: sha256('z') },
    { ...good, name: 'number', token: 12345678 },
    { ...good, name: 'unknown', token: 'u', colour: 'red', may: ['writ'] },
    { ...good, name: 'tenants', token: 't', tenant: 'a/b', tenants: ['c', 'd|e', 7] },
    { ...good, name: 'forwards', token: 'f', may: ['forward'] },
    { name: 'empty', token_sha256: sha256(''), tenant: 'a', may: ['read'] },
    'team-b',
  ]).join('\n')
  for (const part of [
    'key 2 ("team-a"): name: another key has it too',
    'key 3 ("same-token"): token: key 1 ("team-a") has the same',
    'key 4 ("nothing"): token: missing; expected either token or token_sha256',
    'key 4 ("nothing"): may: expected a list of some of write, read, forward',
    'key 4 ("nothing"): tenant: missing',
    'key 5: name: "a b" is not allowed',
    'key 6 ("both"): token: either token or token_sha256',
    'key 7 ("number"): token: expected text without blanks, in ASCII; a number needs quotes',
    'key 8 ("unknown"): colour: there is no such field; there are name, token, token_sha256, tenant, tenants, may',
    'key 8 ("unknown"): may: expected',
    'key 9 ("tenants"): tenant: "a/b" is not allowed: expected the name of a tenant',
    'key 9 ("tenants"): tenants: "d|e" is not allowed',
    'key 9 ("tenants"): tenants: 7 is not allowed',
    'key 10 ("forwards"): tenant: a key that may only forward has none',
    'key 11 ("empty"): token_sha256: this is the digest of an empty token',
    'key 12: expected the fields',
  ])
    assert.ok(all.includes(part), `${part}\nin\n${all}`)
  assert.ok(!all.includes('key 1 ("team-a"): '), 'nothing is wrong with the first')
})

test('keys: no message shows a token, also of a text that is no JSON', () => {
  assert.deepEqual(problems([good]), [])
  for (const bad of [
    '[{"name":"a","token":"sesame"',
    'sesame',
    '{"token":"sesame"}',
    JSON.stringify([{ ...good, may: [] }]),
    JSON.stringify([{ ...good, token: 'sesame open' }]),
  ]) {
    const said = problems(bad)
    assert.ok(said.length > 0, bad)
    assert.ok(!said.join('\n').includes('sesame'), said.join('\n'))
  }
})

test('keys: --print-config shows everything but tokens and digests', () => {
  const { print } = load({ FLEETMETER_KEYS: JSON.stringify([good]) }, ['--print-config'])
  assert.match(
    print ?? '',
    /^keys: \[\{"name":"team-a","token":"\(hidden\)","tenant":"a","tenants":\[\],"may":\["write"\]\}\] # environment FLEETMETER_KEYS$/m,
  )
  assert.ok(!print?.includes('sesame') && !print?.includes(sha256('sesame')))
})

test('tenants in the shared settings are names of tenants', () => {
  assert.throws(
    () => load({ TENANT_ID: 'a b', FLEETMETER_OPEN_WRITE_TENANTS: 'a,b|c' }),
    /"a b" is not allowed[\s\S]*"a,b\|c"/,
  )
  assert.deepEqual(load({ FLEETMETER_OPEN_WRITE_TENANTS: 'a, *' }).shared.openWriteTenants, ['a', '*'])
})
