/** Who may send batches: they say whose their samples are, so a tenant's key must not. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import type { EventsIntake } from '../../../aggregator/events/events-intake.ts'
import { handleIntake } from '../../../aggregator/intake/intake-routes.ts'
import type { IntakeService } from '../../../aggregator/intake/intake-service.ts'
import { Access } from '../../../proto/runtime/access.ts'
import type { Key } from '../../../proto/runtime/keys.ts'

const key = (name: string, fields: Partial<Key>): Key => ({
  name,
  tokenSha256: createHash('sha256').update(name).digest('hex'),
  tenant: name,
  tenants: [],
  may: [],
  ...fields,
})

test('batches and flushes: the admin and keys that may forward; keys of tenants are 403, whatever tenants they have', async (t) => {
  let batches = 0
  let flushes = 0
  const access = new Access({
    token: 'admin',
    publicKey: 'pk',
    secretKey: 'sk',
    tenant: 'default',
    keys: [
      key('tenant', { tenants: ['*'], may: ['write', 'read'] }),
      key('collector', { tenant: undefined, may: ['forward'] }),
    ],
    openWriteTenants: ['*'],
  })
  const intake = {
    receive: async () => {
      batches++
      return { kind: 'stored', expired: 0 }
    },
  } as Pick<IntakeService, 'receive'> as IntakeService
  const events = {
    receive: async () => {
      batches++
      return { kind: 'stored', expired: 0 }
    },
  } as Pick<EventsIntake, 'receive'> as EventsIntake
  const leases = { round: (): never => assert.fail('nobody asks') }
  const flush = (): void => {
    flushes++
  }
  const forwarded = (): Promise<never> => Promise.reject(new Error('nobody forwards'))
  const server = createServer(
    (request, response) =>
      void handleIntake(
        { access, intake, events, flush, leases, forwarded, told: () => false },
        request.url ?? '',
        request,
        response,
      ),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/intake/v1`
  const post = async (path: string, headers: Record<string, string>): Promise<{ status: number; text: string }> => {
    const response = await fetch(`${base}${path}`, { method: 'POST', headers, body: 'batch' })
    return { status: response.status, text: await response.text() }
  }
  for (const path of ['/batches', '/events', '/flush']) {
    for (const [authorization, status] of [
      ['Bearer admin', 200],
      [`Basic ${btoa('pk:sk')}`, 200],
      ['Bearer collector', 200],
      ['Bearer tenant', 403],
      ['Bearer nobody', 401],
    ] as const)
      assert.equal((await post(path, { Authorization: authorization })).status, status, `${path} ${authorization}`)
    assert.equal((await post(path, {})).status, 401)
  }
  assert.match((await post('/batches', { Authorization: 'Bearer tenant' })).text, /right \\"forward\\"/)
  assert.deepEqual([batches, flushes], [6, 3])
})
