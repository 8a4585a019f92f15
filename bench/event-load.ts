/**
 * Events of a fleet that works, in the order in which they come: 500 machines of eight GPUs, 100 tasks a second that last 10 to 30 s.
 *
 *     of a task   create · pod (2) · weights (2) · start, generation ─ … ─ generation, complete · pod (2)          11 events
 *     while 2,000 of them run, what each is charged every second                                                2,000 a second
 *     files of theirs that are moved                                                                            1,900
 *     who may do what, and files that are read: evidence, by no decision                                        5,000
 *
 * So half of them are logged. What a task's events say fits together (ids, times, machine, GPU), and no id is used twice.
 */
import { randomUUID } from 'node:crypto'
import type { FleetEvent, ReceivedEvent } from '../proto/events/event.ts'
import { encodeEventLines, eventLine } from '../proto/wire/event-batch.ts'

const BATCH = 100
export const BATCHES_PER_SECOND = 100

const MACHINES = 500
const GPUS = 8
const USERS = 2000
/** By batch, which is 10 ms. */
const CREDITS = 20
const TRANSFERS = 19
const RUN_MS = 10_000
/** Until a task that was created runs, ms: its pod is there and has its weights. */
const POD_MS = 400
const LOADED_MS = 1500
const FREED_MS = 800
const BATCH_MS = 1000 / BATCHES_PER_SECOND

type Fields = Readonly<Record<string, unknown>>

interface Told {
  readonly type: string
  readonly topic: string
  readonly fields: Fields
}

interface Running {
  readonly ids: Fields
  readonly until: number
}

const users = Array.from({ length: USERS }, () => randomUUID())
const nodes = Array.from({ length: MACHINES }, () => randomUUID())

/** Makes one batch after the other; each is of the next 10 ms. */
export class EventLoad {
  readonly #begin: number
  /** By batch, what is told then because of what was told before. */
  readonly #later = new Map<number, Told[]>()
  readonly #running: Running[] = []
  #batch = 0
  #tasks = 0
  #charged = 0
  #counts = { events: 0, logged: 0 }

  /** @param begin time of the first event, ms */
  constructor(begin: number) {
    this.#begin = begin
    // Those that run already: each is charged, and ends, as if it had begun before.
    for (let i = 0; i < (2 * RUN_MS) / BATCH_MS; i++) {
      const task = this.#newTask()
      const until = begin + ((i * 7919) % 2000) * BATCH_MS
      this.#at(begin, 'xumi.generation.start', 'xumi_task', { ...task, created: new Date(begin).toISOString() })
      this.#runs(task, until)
    }
  }

  get tasks(): number {
    return this.#tasks
  }

  get counts(): Readonly<{ events: number; logged: number }> {
    return this.#counts
  }

  next(): Uint8Array<ArrayBuffer> {
    const now = this.#begin + this.#batch * BATCH_MS
    this.#beginTask(now)
    const told = this.#later.get(this.#batch) ?? []
    this.#later.delete(this.#batch)
    this.#charge(told, now)
    for (let i = 0; i < TRANSFERS; i++) told.push(transfer(i))
    // What is too much now is told a moment later; evidence makes it full.
    const left = told.splice(BATCH)
    if (left.length > 0) this.#later.set(this.#batch + 1, [...left, ...(this.#later.get(this.#batch + 1) ?? [])])
    this.#counts.logged += told.length
    while (told.length < BATCH) told.push(evidence(told.length))
    this.#counts.events += told.length
    const from = this.#batch++ * BATCH
    const header = {
      collector: 'bench',
      session: 's1',
      lane: String(this.#begin),
      from,
      to: from + BATCH,
      urgent: false,
    }
    const lines = told.map((one, i) => eventLine(received(one, now, i))).join('')
    return encodeEventLines(header, [new TextEncoder().encode(lines)])
  }

  #newTask(): Fields {
    const number = this.#tasks++
    return {
      task_id: randomUUID(),
      user_id: users[number % USERS],
      node_id: nodes[number % MACHINES],
      vm_type: 'h100x8',
      host_name: `gpu-${number % MACHINES}`,
      storage_size: 3_840_000_000_000,
      storage_type: 'nvme',
      model: `model-${number % 40}`,
      url: 'http://10.0.0.1:8000/v1/completions',
      gpus: [String(Math.floor(number / MACHINES) % GPUS)],
      tags: { project: `project-${number % 200}`, department: `department-${number % 20}` },
    }
  }

  #beginTask(now: number): void {
    const task = this.#newTask()
    const { task_id, user_id, node_id, model, url, host_name } = task
    const pod = { ...access(), resource_id: randomUUID(), node_id, hardware: 'h100', host_name }
    const runs = now + POD_MS + LOADED_MS
    const ends = runs + RUN_MS + ((this.#tasks * 7919) % 2000) * 10
    const [begun, loading] = [randomUUID(), randomUUID()]
    const iso = (at: number): string => new Date(at).toISOString()
    this.#at(now, 'workflow.process.create', 'kubernetes', {
      task_id,
      user_id,
      node_id,
      created: iso(now),
      result: true,
    })
    this.#at(now, 'kuber.deploy.start', 'kubernetes', { ...pod, event_id: begun })
    this.#at(now + POD_MS, 'kuber.deploy.start.complete', 'kubernetes', { ...pod, previous_event_id: begun })
    this.#at(now + POD_MS, 'xumi.weights.load.start', 'xumi_load', {
      model,
      url,
      node_id,
      host_name,
      event_id: loading,
    })
    const loaded = { model, url, node_id, host_name, origin_event_id: loading, result: true, speed: 2.1e9, size: 14e9 }
    this.#at(runs, 'xumi.weights.load.complete', 'xumi_load', loaded)
    this.#at(runs, 'workflow.task.start', 'wkf_task', {
      task_id,
      user_id,
      node: host_name,
      pod: `pod-${this.#tasks}`,
      queue_seconds: 2,
    })
    const start = { ...task, created: iso(runs), prompt: { length: 1200, sha256: 'a'.repeat(64) }, speed: '41.5' }
    this.#at(runs, 'xumi.generation.start', 'xumi_task', start)
    this.#runs(task, ends)
    this.#at(ends, 'workflow.task.complete', 'wkf_task', { task_id, detail: 'done' })
    this.#at(ends, 'kuber.deploy.free', 'kubernetes', { ...pod, eval_ms: 12 })
    this.#at(ends + FREED_MS, 'kuber.deploy.free.complete', 'kubernetes', { ...pod, eval_ms: 12 })
  }

  #runs(task: Fields, until: number): void {
    this.#running.push({ ids: task, until })
    const created = new Date(until).toISOString()
    this.#at(until, 'xumi.generation.complete', 'xumi_task', { ...task, created, result: true, tokens_out: 812 })
  }

  /** The next of those that run, each once a second or so. */
  #charge(told: Told[], now: number): void {
    for (let i = 0; i < CREDITS && this.#running.length > 0; i++) {
      this.#charged = (this.#charged + 1) % this.#running.length
      const { ids, until } = this.#running[this.#charged]!
      if (until <= now) {
        this.#running[this.#charged] = this.#running.at(-1)!
        this.#running.pop()
        continue
      }
      const { task_id, user_id, node_id, tags } = ids
      const [started, ended] = [now - 1000, now].map((at) => new Date(at).toISOString())
      const fields = { task_id, user_id, node_id, tags, amount: 0.4, quantity: 1, unit: 'gpu_seconds', started, ended }
      told.push({ type: 'workflow.gpu.credit', topic: 'wkf_gpu', fields })
    }
  }

  #at(time: number, type: string, topic: string, fields: Fields): void {
    const batch = Math.max(this.#batch, Math.round((time - this.#begin) / BATCH_MS))
    const told = this.#later.get(batch) ?? []
    this.#later.set(batch, told)
    told.push({ type, topic, fields })
  }
}

function received({ type, topic, fields }: Told, now: number, i: number): ReceivedEvent {
  const event = {
    event_id: randomUUID(),
    event_type: type,
    timestamp: new Date(now).toISOString(),
    tenant_id: '11111111-1111-4111-8111-111111111111',
    source: type.slice(0, type.indexOf('.')),
    version: '1.0',
    ...fields,
  } as FleetEvent
  return { tenant: 'default', at: now * 1000 + i, road: 'http', topic, event }
}

function access(): Fields {
  const user = { id: users[0], name: 'someone', roles: ['researcher', 'viewer'] }
  return {
    user,
    action: 'use',
    resource: { kind: 'pod', id: randomUUID() },
    result: true,
    service: 'workflow',
    resource_id: randomUUID(),
    user_tenant_id: '11111111-1111-4111-8111-111111111111',
    resource_tenant_id: '11111111-1111-4111-8111-111111111111',
  }
}

function transfer(i: number): Told {
  const user_id = users[(i * 131) % USERS]
  const file = {
    user_id,
    resource_url: `s3://data/${randomUUID()}`,
    object_size: 4_000_000 + i,
    result: true,
    ip: '10.1.2.3',
  }
  const fields = { ...access(), ...file, avg_speed: 1.2e8 }
  return { type: 'assets.access.download', topic: 'asset_transfer', fields }
}

function evidence(i: number): Told {
  const checked = { ...access(), system_rule_revision: 17, tenant_rule_revision: 4, eval_ms: 0.3, cache_hit: true }
  if (i % 5 > 0) return { type: 'pbac.agent.politics.check', topic: 'pbac_access', fields: checked }
  const file = { resource_url: `s3://data/${randomUUID()}`, object_size: 4_000_000, ip: '10.1.2.3' }
  return { type: 'assets.access.read', topic: 'asset_access', fields: { ...access(), ...file } }
}
