import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Section } from '../../../proto/runtime/config.ts'
import { integer } from '../../../proto/runtime/config.ts'
import { FleetmeterError } from '../../../proto/runtime/errors.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { Reload } from '../../../proto/runtime/reload.ts'

interface Own {
  readonly limit: number
  readonly port: number
}
const shared: Section<object> = { name: '', settings: {} }
const own: Section<Own> = {
  name: 'app',
  settings: { limit: integer(1, 0, 9, ''), port: integer(1, 0, 9, '') },
  reloads: ['limit'],
}

function reloading(prepare: (now: Own) => () => Promise<void> | void) {
  const next = { own: { limit: 1, port: 1 }, problem: '' }
  const reload = new Reload<object, Own>({
    read: () => {
      if (next.problem !== '') throw new FleetmeterError('FM_CONFIG', next.problem)
      return { shared: {}, own: next.own, origins: new Map(), print: undefined }
    },
    current: { shared: {}, own: next.own },
    sections: { shared, own },
    prepare: (_, now) => prepare(now),
    clock: { now: () => 0, monotonic: () => 0 },
    log: silentLogger,
  })
  return { next, reload }
}

test('Reload takes over what can be changed, and keeps what needs a restart', async () => {
  const taken: Own[] = []
  const { next, reload } = reloading((now) => () => void taken.push(now))
  next.own = { limit: 5, port: 5 }
  reload.request()
  await reload.stop()
  assert.deepEqual(taken, [{ limit: 5, port: 1 }])
})

test('Reload names what differs and needs a restart, as long as it does', async () => {
  const { next, reload } = reloading(() => () => {})
  const request = async (values: Own): Promise<unknown> => {
    next.own = values
    reload.request()
    await new Promise(setImmediate)
    return reload.health()
  }
  const waits = { ready: true, detail: 'changed, and in force after a restart: app.port' }
  assert.deepEqual(await request({ limit: 5, port: 5 }), waits)
  assert.deepEqual(await request({ limit: 6, port: 5 }), waits)
  assert.deepEqual(await request({ limit: 6, port: 1 }), { ready: true })
})

test('Reload changes nothing where the configuration is wrong, or cannot be prepared, and says so until it is right', async () => {
  const taken: Own[] = []
  const { next, reload } = reloading((now) => {
    if (now.limit === 7) throw new Error('no such thing')
    return () => void taken.push(now)
  })
  next.problem = 'limit: "x" is not allowed'
  reload.request()
  assert.match(reload.health().detail ?? '', /wrong and not in force/)
  assert.equal(reload.health().ready, true)
  await new Promise(setImmediate)
  next.problem = ''
  next.own = { limit: 7, port: 1 }
  reload.request()
  await new Promise(setImmediate)
  assert.match(reload.health().detail ?? '', /wrong and not in force/)
  next.own = { limit: 2, port: 1 }
  reload.request()
  await reload.stop()
  assert.deepEqual([taken, reload.health()], [[{ limit: 2, port: 1 }], { ready: true }])
})

test('Reload does one at a time: signals that come meanwhile are one more', async () => {
  const taken: number[] = []
  let finish = (): void => {}
  const { next, reload } = reloading((now) => () => {
    taken.push(now.limit)
    return new Promise((resolve) => {
      finish = resolve
    })
  })
  for (const limit of [2, 3, 4]) {
    next.own = { limit, port: 1 }
    reload.request()
  }
  assert.deepEqual(taken, [2])
  finish()
  await new Promise(setImmediate)
  assert.deepEqual(taken, [2, 4])
})
