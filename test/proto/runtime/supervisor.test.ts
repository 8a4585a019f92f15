import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { Mailbox } from '../../../proto/runtime/mailbox.ts'
import type { Health, MailboxService, Service } from '../../../proto/runtime/service.ts'
import { Supervisor } from '../../../proto/runtime/supervisor.ts'

const events: string[] = []

class Plain implements Service {
  readonly name: string
  ready = true
  failStart = false
  constructor(name: string) {
    this.name = name
  }
  async start(): Promise<void> {
    if (this.failStart) throw new Error(`${this.name} does not start`)
    events.push(`start ${this.name}`)
  }
  async stop(): Promise<void> {
    events.push(`stop ${this.name}`)
  }
  health(): Health {
    return this.ready ? { ready: true } : { ready: false, detail: 'on purpose' }
  }
}

class Worker extends Plain implements MailboxService<string> {
  readonly mailbox = new Mailbox<string>(100)
  readonly batch = { messages: 2, weight: 1000 }
  handled: string[] = []
  next: Worker | undefined
  failures = 0
  async handle(messages: readonly string[]): Promise<void> {
    if (this.failures > 0) {
      this.failures--
      throw new Error('on purpose')
    }
    await sleep(1)
    this.handled.push(...messages)
    for (const message of messages) this.next?.mailbox.offer(message)
  }
}

const supervise = (...services: Service[]) => new Supervisor(services, { log: silentLogger, stopDeadlineMs: 2000 })

test('Supervisor: what comes while messages pause is handed over with them', async () => {
  const patient = new Worker('patient')
  const batches: string[][] = []
  const paused = Object.assign(patient, {
    batch: { messages: 100, weight: 1000 },
    pauses: 0,
    pauseMs: () => {
      paused.pauses++
      setTimeout(() => patient.mailbox.offer('second'), 1)
      return paused.pauses === 1 ? 50 : 0
    },
    handle: async (messages: readonly string[]) => void batches.push([...messages]),
  })
  const supervisor = supervise(patient)
  await supervisor.start()
  patient.mailbox.offer('first')
  await sleep(100)
  await supervisor.stop()
  assert.deepEqual(batches[0], ['first', 'second'])
})

test('Supervisor starts from the end of the path and stops from its front, each drained into the next', async () => {
  events.length = 0
  const front = new Worker('front')
  const back = new Worker('back')
  front.next = back
  const supervisor = supervise(front, back)
  assert.equal(supervisor.health().ready, false)
  await supervisor.start()
  assert.equal(supervisor.health().ready, true)
  const messages = Array.from({ length: 25 }, (_, i) => String(i))
  for (const message of messages) front.mailbox.offer(message)
  await supervisor.stop()
  assert.deepEqual(events, ['start back', 'start front', 'stop front', 'stop back'])
  assert.deepEqual(back.handled, messages)
  assert.equal(supervisor.health().ready, false)
})

test('Supervisor.start() stops what had started when one does not, and rejects with its error', async () => {
  events.length = 0
  const broken = new Plain('broken')
  broken.failStart = true
  await assert.rejects(supervise(new Plain('front'), broken, new Plain('back')).start(), /broken does not start/)
  assert.deepEqual(events, ['start back', 'stop back'])
})

test('Supervisor restarts a service that fails, without the message that failed it, and keeps the others', async () => {
  const worker = new Worker('worker')
  worker.failures = 1
  const supervisor = supervise(worker)
  await supervisor.start()
  worker.mailbox.offer('poison')
  await sleep(20)
  assert.match(supervisor.health().detail ?? '', /restarting/)
  await sleep(200)
  worker.mailbox.offer('good')
  await supervisor.stop()
  assert.deepEqual(worker.handled, ['good'])
  assert.equal(supervisor.restarts, 1)
})

test('Supervisor.health() names the service that is not ready and why', async () => {
  const plain = new Plain('plain')
  const supervisor = supervise(plain)
  await supervisor.start()
  plain.ready = false
  assert.deepEqual(supervisor.health(), {
    ready: false,
    detail: 'plain: on purpose',
    services: { plain: { ready: false, detail: 'on purpose' } },
  })
  await supervisor.stop()
})

test('Supervisor.stop() ends at the deadline although a service hangs', async () => {
  const hanging = new Worker('hanging')
  hanging.handle = () => new Promise(() => {})
  const supervisor = new Supervisor([hanging], { log: silentLogger, stopDeadlineMs: 100 })
  await supervisor.start()
  hanging.mailbox.offer('x')
  await sleep(10)
  await supervisor.stop()
})
