/** Changes of directories, on PGlite and on a real PostgreSQL: the same from both. */
import assert from 'node:assert/strict'
import { appendFileSync, rmSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { ChangeAnswer } from '../../../aggregator/directory/changes.ts'
import { create, end, etagOf, replace } from '../../../aggregator/directory/changes.ts'
import { importFile } from '../../../aggregator/directory/csv-file.ts'
import { noDefinitionLog } from '../../../aggregator/directory/definition-log.ts'
import { DirectoryService } from '../../../aggregator/directory/directory-service.ts'
import { EmbeddedDatabase } from '../../../aggregator/directory/embedded-database.ts'
import type { EntryRecord } from '../../../aggregator/directory/entry.ts'
import { FileDefinitionLog } from '../../../aggregator/directory/file-definition-log.ts'
import { PostgresDatabase } from '../../../aggregator/directory/postgres-database.ts'
import { Refusal } from '../../../aggregator/directory/refusal.ts'
import { DIRECTORIES } from '../../../aggregator/directory/routes.ts'
import { systemClock } from '../../../proto/runtime/clock.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { startPostgres } from '../../support/postgres.ts'
import { eventually, temporaryDirectory } from '../../support/programs.ts'

const [memberships, nodes, prices, quotas] = DIRECTORIES as [
  (typeof DIRECTORIES)[0],
  (typeof DIRECTORIES)[0],
  (typeof DIRECTORIES)[0],
  (typeof DIRECTORIES)[0],
]
const ASKING = { tenant: 'a', admin: false }
const AT = Date.parse('2026-06-01T00:00:00Z')
const MEMBERSHIP = { user_id: 'u1', project: 'p1', department: 'd1', valid_from: '2026-01-01T00:00:00Z' }
const PRICE = { resource: 'gpu_seconds', currency: 'EUR', amount_micros: 5, valid_from: '2026-01-01T00:00:00Z' }
const settings = { entriesMax: 50_000, refreshMs: 50, clock: systemClock, logger: silentLogger }

function embedded(directory: string): DirectoryService {
  return new DirectoryService({
    ...settings,
    database: new EmbeddedDatabase(join(directory, 'database'), silentLogger),
    log: new FileDefinitionLog(join(directory, 'definitions.jsonl')),
  })
}

function served(url: string): DirectoryService {
  return new DirectoryService({ ...settings, database: new PostgresDatabase(url, silentLogger), log: noDefinitionLog })
}

async function started(t: TestContext, service: DirectoryService): Promise<DirectoryService> {
  await service.start()
  t.after(() => service.stop(AbortSignal.timeout(30_000)))
  return service
}

function recordOf({ body }: ChangeAnswer): EntryRecord {
  return body as EntryRecord
}

function refusedWith(status: number, words: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Refusal, String(error))
    assert.equal(error.status, status)
    assert.match(error.message, words)
    return true
  }
}

/** What holds for both. @param again the same database, opened anew */
async function changes(service: DirectoryService, again: () => Promise<DirectoryService>): Promise<void> {
  const made = recordOf(await service.change(create(memberships, ASKING, MEMBERSHIP)))
  assert.equal(made.valid_from, '2026-01-01T00:00:00.000Z')
  assert.equal(service.snapshot.attribute({ tenant: 'a', userId: 'u1', at: AT }).department, 'd1')
  await assert.rejects(
    service.change(create(memberships, ASKING, MEMBERSHIP)),
    refusedWith(409, /in the project "p1" from 2026-01-01T00:00:00.000Z to no known end already/),
  )

  const later = { ...MEMBERSHIP, department: 'd2' }
  const changed = recordOf(await service.change(replace(memberships, ASKING, made.id, etagOf(made), later)))
  assert.equal(changed.id, made.id)
  await assert.rejects(
    service.change(replace(memberships, ASKING, made.id, etagOf(made), MEMBERSHIP)),
    refusedWith(412, /changed meanwhile/),
  )
  await assert.rejects(service.change(end(memberships, ASKING, made.id, undefined, AT)), refusedWith(428, /If-Match/))
  await assert.rejects(
    service.change(end(memberships, { tenant: 'b', admin: false }, made.id, '*', AT)),
    refusedWith(404, /of the tenant "b"/),
  )
  await service.change(end(memberships, ASKING, made.id, etagOf(changed), AT))
  assert.equal(service.snapshot.attribute({ tenant: 'a', userId: 'u1', at: AT }).how.project, 'none')
  assert.equal(service.snapshot.attribute({ tenant: 'a', userId: 'u1', at: AT - 1 }).department, 'd2')

  const first = recordOf(await service.change(create(prices, ASKING, PRICE)))
  const second = recordOf(
    await service.change(replace(prices, ASKING, first.id, etagOf(first), { ...PRICE, amount_micros: 7 })),
  )
  assert.notEqual(second.id, first.id)
  await assert.rejects(service.change(end(prices, ASKING, first.id, '*', AT)), refusedWith(409, /superseded/))

  const repeatable = { credential: 'c', key: 'k', request: 'r' }
  const node = { node_id: 'n1', host_name: 'Host-1', instances: ['10.0.0.1:9100'], valid_from: '2026-01-01T00:00:00Z' }
  const once = await service.change(create(nodes, ASKING, node), repeatable)
  const twice = await service.change(create(nodes, ASKING, node), repeatable)
  assert.deepEqual(twice, { ...once, headers: { ...once.headers, 'Idempotency-Replayed': 'true' } })
  await assert.rejects(
    service.change(create(nodes, ASKING, node), { ...repeatable, request: 'other' }),
    refusedWith(422, /new key/),
  )

  const quota = {
    level: 'user',
    resource: 'tokens',
    limit: 9e15,
    thresholds: [50, 100],
    valid_from: '2026-01-01T00:00:00Z',
  }
  const rolling = recordOf(
    await service.change(create(quotas, ASKING, { ...quota, window: 'rolling', seconds: 86_400, shadow: true })),
  )
  await service.change(create(quotas, ASKING, { ...quota, window: 'day', zone: 'Europe/Berlin', subject: 'ada' }))
  await service.change(
    replace(quotas, ASKING, rolling.id, etagOf(rolling), { ...quota, limit: 0, window: 'rolling', seconds: 900 }),
  )

  const before = service.snapshot
  const after = await again()
  for (const { kind } of DIRECTORIES)
    assert.deepEqual(
      after.snapshot.table(kind).all.map(({ record }) => record),
      before.table(kind).all.map(({ record }) => record),
    )
  assert.equal(after.snapshot.version, before.version)
  assert.equal(after.snapshot.nodeOf('a', 'HOST-1', AT)?.node_id, 'n1')
  assert.equal(after.snapshot.nodeOf('a', '10.0.0.1:9400', AT), undefined, 'an instance with a port is that one')
  assert.deepEqual(recordOf(await after.change(create(nodes, ASKING, node), repeatable)), recordOf(once))
}

test('DirectoryService on PGlite: changes, conflicts, repeats, restart', async (t) => {
  const directory = temporaryDirectory()
  const service = embedded(directory)
  await service.start()
  assert.equal(service.health().ready, true)
  assert.throws(() => statSync(join(directory, 'database')), 'nothing is made before the first change')
  await changes(service, async () => {
    await service.stop(AbortSignal.timeout(30_000))
    return started(t, embedded(directory))
  })
})

test('DirectoryService on PGlite is made anew from the log of definitions, whose cut-off end is nothing', async (t) => {
  const directory = temporaryDirectory()
  const log = join(directory, 'definitions.jsonl')
  const service = embedded(directory)
  await service.start()
  const made = recordOf(await service.change(create(memberships, ASKING, MEMBERSHIP)))
  const whole = statSync(log).size
  await service.change(create(prices, ASKING, PRICE))
  await service.stop(AbortSignal.timeout(30_000))
  // The second change was in the middle of being written when the power went, and the database is lost.
  truncateSync(log, statSync(log).size - 7)
  rmSync(join(directory, 'database'), { recursive: true })

  const anew = await started(t, embedded(directory))
  assert.deepEqual(
    anew.snapshot.memberships.all.map(({ record }) => record),
    [made],
  )
  assert.equal(anew.snapshot.prices.all.length, 0)
  assert.equal(statSync(log).size, whole)
  assert.equal((await anew.change(create(prices, ASKING, PRICE))).status, 201)
})

test('DirectoryService does what the log has beyond the tables, and refuses a log that is damaged', async (t) => {
  const directory = temporaryDirectory()
  const log = join(directory, 'definitions.jsonl')
  const service = embedded(directory)
  await service.start()
  const made = recordOf(await service.change(create(memberships, ASKING, MEMBERSHIP)))
  await service.stop(AbortSignal.timeout(30_000))
  // As a crash between log and commit leaves it.
  const body = { ...made, version: 2, department: 'd9' }
  appendFileSync(log, `${JSON.stringify({ position: 2, records: [{ kind: 'membership', key: made.id, body }] })}\n`)
  const after = embedded(directory)
  await after.start()
  assert.equal(after.snapshot.attribute({ tenant: 'a', userId: 'u1', at: AT }).department, 'd9')
  assert.equal(after.snapshot.version, 2)
  await after.stop(AbortSignal.timeout(30_000))

  appendFileSync(log, '{"position":3,"rec\n')
  const broken = embedded(directory)
  t.after(() => broken.stop(AbortSignal.timeout(30_000)))
  await assert.rejects(broken.start(), /is damaged behind position 2/)
})

test('DirectoryService on PostgreSQL: changes, conflicts, repeats, restart', { timeout: 120_000 }, async (t) => {
  const postgres = await startPostgres(t)
  if (postgres === undefined) return
  const service = served(postgres.url)
  await service.start()
  await changes(service, async () => {
    await service.stop(AbortSignal.timeout(30_000))
    return started(t, served(postgres.url))
  })
})

test('DirectoryService: of two on one PostgreSQL none loses what the other changed', {
  timeout: 120_000,
}, async (t) => {
  const postgres = await startPostgres(t)
  if (postgres === undefined) return
  const [one, two] = await Promise.all([started(t, served(postgres.url)), started(t, served(postgres.url))])
  const made = recordOf(await one.change(create(memberships, ASKING, MEMBERSHIP)))
  // Both saw the same version; one of them wins, the other is told.
  const department = (name: string): object => ({ ...MEMBERSHIP, department: name })
  const both = await Promise.allSettled([
    one.change(replace(memberships, ASKING, made.id, etagOf(made), department('one'))),
    two.change(replace(memberships, ASKING, made.id, etagOf(made), department('two'))),
  ])
  assert.deepEqual(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
  // The same user in the same project, at once by both.
  const added = await Promise.allSettled(
    [one, two, one, two].map((service) =>
      service.change(create(memberships, ASKING, { ...MEMBERSHIP, user_id: 'u2' })),
    ),
  )
  assert.equal(added.filter(({ status }) => status === 'fulfilled').length, 1)
  await eventually('both see the same', () => {
    assert.equal(one.snapshot.version, two.snapshot.version)
    assert.deepEqual(
      one.snapshot.memberships.all.map(({ record }) => record),
      two.snapshot.memberships.all.map(({ record }) => record),
    )
    return one.snapshot.memberships.all.length === 2
  })
})

test('DirectoryService goes on answering while PostgreSQL is away, refuses changes, and goes on', {
  timeout: 120_000,
}, async (t) => {
  const postgres = await startPostgres(t)
  if (postgres === undefined) return
  const service = await started(t, served(postgres.url))
  await service.change(create(memberships, ASKING, MEMBERSHIP))
  await postgres.kill()
  await assert.rejects(service.change(create(prices, ASKING, PRICE)), /PostgreSQL at 127.0.0.1/)
  assert.equal(service.snapshot.attribute({ tenant: 'a', userId: 'u1', at: AT }).project, 'p1')
  assert.match(service.health().detail ?? '', /cannot be changed/)
  await postgres.start()
  await eventually('it is said to work again', () => service.health().detail === undefined)
  assert.equal(service.snapshot.prices.all.length, 0)
  assert.equal((await service.change(create(prices, ASKING, PRICE))).status, 201)
})

test('DirectoryService: a file of 20,000 lines, all or nothing, and again changes nothing', {
  timeout: 180_000,
}, async (t) => {
  const service = await started(t, embedded(temporaryDirectory()))
  const head = 'user_id,project,department,valid_from\r\n'
  const lines = Array.from({ length: 20_000 }, (_, i) => `user-${i},p${i % 7},d${i % 3},2026-01-01T00:00:00Z\r\n`)
  const file = (text: string): Uint8Array => new TextEncoder().encode(text)
  const imported = async (text: string, dryRun = false): Promise<unknown> =>
    (await service.change(await importFile(memberships, ASKING, file(text), dryRun))).body

  const bad = [...lines]
  bad[99] = 'user-99,,d,2026-01-01T00:00:00Z\r\n'
  bad[19_998] = 'user-0,p0,d,2026-02-01T00:00:00Z\r\n'
  await assert.rejects(imported(head + bad.join('')), (error) => {
    assert.ok(error instanceof Refusal)
    assert.deepEqual(
      error.faults.map(({ line, field }) => [line, field]),
      [
        [101, 'project'],
        [20_000, 'user_id'],
      ],
    )
    return true
  })
  const whole = head + lines.join('')
  assert.deepEqual(await imported(whole, true), { dry_run: true, created: 20_000, replaced: 0, unchanged: 0 })
  assert.equal(service.snapshot.size, 0)
  assert.deepEqual(await imported(whole), { dry_run: false, created: 20_000, replaced: 0, unchanged: 0 })
  assert.deepEqual(await imported(whole), { dry_run: false, created: 0, replaced: 0, unchanged: 20_000 })
  assert.equal(service.snapshot.memberships.all.length, 20_000)
  await assert.rejects(
    imported(`${head}${'x,y,z,2026-01-01T00:00:00Z\n'.repeat(200_001)}`),
    refusedWith(400, /line 200002: more than 200001 lines/),
  )
})
