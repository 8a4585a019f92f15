import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { Access, findToken, Networks } from '../../../proto/runtime/access.ts'
import { temporaryDirectory } from '../../support/programs.ts'

test('Access knows the bearer token and the Basic pair, in any case of the scheme, and nothing else', () => {
  const access = new Access({ token: 'secret', publicKey: 'pk', secretKey: 'sk:x' })
  for (const header of [
    'Bearer secret',
    'bearer  secret ',
    'BEARER secret',
    `Basic ${btoa('pk:sk:x')}`,
    `basic ${btoa('pk:sk:x')}`,
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
    'Digest secret',
  ]) {
    assert.equal(access.caller(header).kind, 'refused', header)
  }
  assert.equal(access.caller(undefined).kind, 'anonymous')
})

test('Access without both Basic keys refuses Basic', () => {
  assert.equal(
    new Access({ token: 's', publicKey: 'pk', secretKey: '' }).caller(`Basic ${btoa('pk:')}`).kind,
    'refused',
  )
})

test('Access names a credential without showing it', () => {
  const caller = new Access({ token: 'sesame-open', publicKey: '', secretKey: '' }).caller('Bearer sesame-open')
  assert.ok(caller.kind === 'known' && !caller.id.includes('sesame'))
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
