import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import type { AccessOptions, Credential } from '../../../proto/runtime/access.ts'
import { Access, findToken, Networks, permit } from '../../../proto/runtime/access.ts'
import type { Key } from '../../../proto/runtime/keys.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

function key(name: string, fields: Partial<Key> = {}): Key {
  return { name, tokenSha256: sha256(`token of ${name}`), tenant: name, tenants: [], may: ['write', 'read'], ...fields }
}

function accessOf(options: Partial<AccessOptions> = {}): Access {
  return new Access({
    token: 'secret',
    publicKey: '',
    secretKey: '',
    tenant: 'default',
    keys: [],
    openWriteTenants: [],
    ...options,
  })
}

function credentialOf(access: Access, header: string): Credential {
  const caller = access.caller(header)
  assert.ok(caller.kind === 'known', header)
  return caller.credential
}

test('Access knows the bearer token and the Basic pair, in any case of the scheme, and nothing else', () => {
  const access = accessOf({ publicKey: 'pk', secretKey: 'sk:x', keys: [key('a')] })
  for (const header of [
    'Bearer secret',
    'bearer  secret ',
    'BEARER secret',
    `Basic ${btoa('pk:sk:x')}`,
    `basic ${btoa('pk:sk:x')}`,
    'Bearer token of a',
  ])
    assert.equal(access.caller(header).kind, 'known', header)
  for (const header of [
    '',
    'Bearer',
    'Bearer ',
    'Bearer secret2',
    'Bearer secre',
    'secret',
    'Basic',
    'Basic !!!',
    `Basic ${btoa('pk:sk')}`,
    `Basic ${btoa('secret')}`,
    `Basic ${btoa('token of a')}`,
    'Bearer pk:sk:x',
    'Digest secret',
    `Bearer ${sha256('secret')}`,
    `Bearer ${sha256('token of a')}`,
  ]) {
    assert.equal(access.caller(header).kind, 'refused', header)
  }
  assert.equal(access.caller(undefined).kind, 'anonymous')
})

test('Access never takes an empty token, also where its digest was configured', () => {
  const access = accessOf({ keys: [key('a', { tokenSha256: sha256('') })] })
  for (const header of ['Bearer', 'Bearer ', 'Bearer    ']) assert.equal(access.caller(header).kind, 'refused', header)
})

test('Access without both Basic keys refuses Basic', () => {
  assert.equal(accessOf({ publicKey: 'pk' }).caller(`Basic ${btoa('pk:')}`).kind, 'refused')
})

test('Access names a credential without showing it, a key by its name', () => {
  const access = accessOf({ token: 'sesame-open', keys: [key('team-a')] })
  assert.ok(!credentialOf(access, 'Bearer sesame-open').id.includes('sesame'))
  assert.equal(credentialOf(access, 'Bearer token of team-a').id, 'key:team-a')
})

test("Access refuses a key with the admin's token", () => {
  assert.throws(() => accessOf({ keys: [key('a', { tokenSha256: sha256('secret') })] }), {
    code: 'FM_CONFIG',
    message: /the key "a" has the admin's token/,
  })
})

test('permit: the admin may do everything in any tenant, a key what it lists in the tenants that it lists', () => {
  const access = accessOf({
    keys: [
      key('a', { tenants: ['a-test'] }),
      key('b', { may: ['read'] }),
      key('any', { tenants: ['*'] }),
      key('collector', { tenant: undefined, may: ['forward'] }),
    ],
    openWriteTenants: ['guest'],
  })
  const ask = (who: Credential, right: 'write' | 'read', header?: string): string | number => {
    const answer = permit(who, right, header)
    return 'tenant' in answer ? answer.tenant : answer.status
  }
  const admin = credentialOf(access, 'Bearer secret')
  assert.ok(admin.admin && admin.may.includes('forward'))
  assert.deepEqual([ask(admin, 'write'), ask(admin, 'read', 'b')], ['default', 'b'])
  const a = credentialOf(access, 'Bearer token of a')
  assert.ok(!a.admin && !a.may.includes('forward'))
  assert.deepEqual(
    [undefined, 'a', ' a ', 'a-test', 'b', 'default', ''].map((header) => ask(a, 'write', header)),
    ['a', 'a', 'a', 'a-test', 403, 403, 400],
  )
  assert.deepEqual([ask(a, 'read', 'a-test'), ask(a, 'read', 'b')], ['a-test', 403])
  const b = credentialOf(access, 'Bearer token of b')
  assert.deepEqual([ask(b, 'write'), ask(b, 'read')], [403, 'b'])
  const any = credentialOf(access, 'Bearer token of any')
  assert.deepEqual([ask(any, 'read', 'whoever'), ask(any, 'read', '*')], ['whoever', 400])
  const forwards = credentialOf(access, 'Bearer token of collector')
  assert.deepEqual([ask(forwards, 'write'), ask(forwards, 'read', 'a')], [403, 403])
  assert.deepEqual(
    [
      ask(access.open, 'write'),
      ask(access.open, 'write', 'guest'),
      ask(access.open, 'write', 'a'),
      ask(access.open, 'read'),
    ],
    ['default', 'guest', 403, 403],
  )
})

test('permit says what was wrong: header, tenant and key, and what to do', () => {
  const a = credentialOf(accessOf({ keys: [key('a')] }), 'Bearer token of a')
  const reasonOf = (right: 'write' | 'read', header?: string): string => {
    const answer = permit(a, right, header)
    assert.ok('reason' in answer)
    return answer.reason
  }
  assert.match(
    reasonOf('write', 'b'),
    /^X-Scope-OrgID names the tenant "b", which the key "a" does not reach: .*"tenants"/,
  )
  assert.match(reasonOf('read', 'a|b'), /several tenants \("a\|b"\): a request is of one tenant/)
  assert.match(reasonOf('read', 'a, a'), /several tenants/)
  const none = permit({ ...a, may: ['read'] }, 'write', undefined)
  assert.ok('reason' in none)
  assert.match(none.reason, /right "write", which the key "a" does not have/)
  assert.ok(reasonOf('write', 'x'.repeat(10_000)).length < 500, 'an answer is not as long as the header')
})

test('Networks hold IPv4, IPv6 and mapped addresses; a wrong entry is named', () => {
  const networks = new Networks(['127.0.0.0/8', '10.1.2.3', 'fd00::/8'], 'open_writes')
  for (const address of ['127.0.0.1', '::ffff:127.0.0.1', '10.1.2.3', 'fd12::1'])
    assert.ok(networks.has(address), address)
  for (const address of ['10.1.2.4', '::1', '192.168.0.1', undefined, ''])
    assert.ok(!networks.has(address as string), String(address))
  assert.throws(() => new Networks(['10.0.0.0/99'], 'open_writes'), {
    code: 'FM_CONFIG',
    message: /open_writes: "10.0.0.0\/99"/,
  })
  assert.throws(() => new Networks(['localhost'], 'open_writes'), { code: 'FM_CONFIG' })
})

test('findToken makes one at the first start, for its owner only, and finds it again', () => {
  const directory = temporaryDirectory()
  const first = findToken('', directory)
  assert.ok(first.created && first.token.length >= 32)
  assert.equal(statSync(join(directory, 'token')).mode & 0o777, 0o600)
  assert.deepEqual(findToken('', directory), { ...first, created: false })
  assert.equal(readFileSync(join(directory, 'token'), 'utf8').trim(), first.token)
  assert.deepEqual(findToken('given', directory), { token: 'given', file: undefined, created: false })
})

test('findToken refuses tokens that no client can send, and a file that holds none', () => {
  const directory = temporaryDirectory()
  assert.equal(findToken(' abc ', directory).token, 'abc')
  for (const token of ['a b', 'ключ', 'a\nb']) assert.throws(() => findToken(token, directory), /no client can send it/)
  for (const content of ['', '\n', 'a b\n']) {
    writeFileSync(join(directory, 'token'), content)
    assert.throws(() => findToken('', directory), /holds no token/)
  }
})
