import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { TenantGrant } from '../../../proto/runtime/tenants.ts'
import { chooseTenant } from '../../../proto/runtime/tenants.ts'

const grant: TenantGrant = { who: 'the key "a"', tenant: 'a', tenants: ['b'], allowedBy: 'somebody' }
const all: TenantGrant = { ...grant, tenants: ['*'] }

test('chooseTenant: names of 1 to 150 letters, digits, hyphens, underscores and dots, and nothing that could mean a path', () => {
  for (const name of ['x', 'Team_A-1.test', '0', '...', 'x'.repeat(150)])
    assert.deepEqual(chooseTenant(all, name), { tenant: name })
  for (const name of ['', ' ', '.', '..', 'x'.repeat(151), 'a b', 'a/b', 'é', 'a\u0000', '*', "'", 'a;b', '"a"']) {
    const answer = chooseTenant(all, name)
    assert.ok('status' in answer && answer.status === 400, name)
  }
})

test('chooseTenant never gives a tenant that the grant does not hold, whatever the header', () => {
  const parts = fc.constantFrom('a', 'b', 'c', 'A', '|', ',', ' ', '*', '.', '\t', 'default')
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(parts).map((p) => p.join('')),
      ),
      (header) => {
        const answer = chooseTenant(grant, header)
        if ('tenant' in answer) assert.ok(['a', 'b'].includes(answer.tenant) && header.trim() === answer.tenant)
      },
    ),
  )
})
