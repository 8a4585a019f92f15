import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Limits } from '../../../collector/receive/limits.ts'
import { ReceivedTenants } from '../../../collector/receive/received-tenants.ts'

const WALL = Date.UTC(2026, 0, 1)

function limitsOf(sender: number, tenant: number, burstSeconds = 1): { limits: Limits; pass: (ms: number) => void } {
  let now = 0
  const clock = { monotonic: () => now, now: () => WALL + now }
  const limits = new Limits(
    { sender: { perSecond: sender, burstSeconds }, tenant: { perSecond: tenant, burstSeconds } },
    clock,
  )
  return {
    limits,
    pass: (ms) => {
      now += ms
    },
  }
}

const a1 = { key: 'a1', tenant: 'a' }
const a2 = { key: 'a2', tenant: 'a' }
const b = { key: 'b1', tenant: 'b' }

test('Limits: a sender over its limit is told which, its value and when; others are not held up', () => {
  const { limits, pass } = limitsOf(100, 0)
  assert.equal(limits.admit(a1), undefined)
  limits.settle(a1, 350, 1000)
  assert.deepEqual(limits.admit(a1), {
    reason:
      'Too Many Requests: this sender may send 100 samples a second (collector.sender_samples_per_second) with a burst of 1 s, and is 250 samples over: send this again in 3 s',
    retryAfterSeconds: 3,
    resetAt: WALL + 2500,
  })
  assert.equal(limits.admit(a2), undefined)
  pass(2500)
  assert.equal(limits.admit(a1), undefined)
  assert.deepEqual(limits.refused, { sender: 1, tenant: 0 })
})

test('Limits: a tenant over its limit is refused from every sender, other tenants are not', () => {
  const { limits } = limitsOf(0, 100)
  limits.settle(a1, 500, 0)
  assert.match(limits.admit(a2)?.reason ?? '', /the tenant "a" may send 100 .*collector\.tenant_samples_per_second/)
  assert.equal(limits.admit(b), undefined)
  assert.deepEqual(limits.refused, { sender: 0, tenant: 1 })
})

test('Limits: where both are used up, the one that lasts longer is named', () => {
  const { limits } = limitsOf(100, 10)
  limits.settle(a1, 500, 0)
  assert.match(limits.admit(a1)?.reason ?? '', /tenant/)
})

test('Limits: a request that holds nothing costs ten samples, one that cannot be read costs by its bytes', () => {
  const { limits } = limitsOf(100, 0)
  let n = 0
  while (limits.admit(a1) === undefined) {
    limits.settle(a1, 0, 5)
    n++
  }
  assert.equal(n, 11, 'a burst of 100 and one more')
  limits.settle(a2, 0, 1024 * 1000)
  assert.ok(limits.admit(a2) !== undefined)
})

test('Limits: 0 is none', () => {
  const { limits } = limitsOf(0, 0)
  for (let i = 0; i < 100; i++) {
    assert.equal(limits.admit(a1), undefined)
    limits.settle(a1, 1e9, 1e9)
  }
})

test('ReceivedTenants: a bounded number of tenants, and of labels; those of the configuration always count', () => {
  const tenants = new ReceivedTenants(['default', 'a', 'c'], 4)
  assert.deepEqual(
    ['x', 'y', 'x', 'a', 'c'].map((tenant) => tenants.admit(tenant)),
    [true, false, true, true, true],
  )
  tenants.add('a', 5)
  tenants.add('a', 2)
  tenants.add('x', 3)
  assert.deepEqual(
    tenants.readings().map(({ labels, value }) => `${labels.tenant} ${value}`),
    ['default 0', 'a 7', 'c 0', '(other) 3'],
  )
})
