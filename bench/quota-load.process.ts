/**
 * Asks `POST /v1/quota/check` at a rate, whether answers come or not (open loop): what is late waits here, and its time counts from
 * when it was due. When the time is over, what was not sent is left out, and counted. Bare sockets, since a client of HTTP would use more
 * than the server.
 *
 *     arguments: JSON QuotaLoadJob; prints "ready"
 *     stdin:     lines "url seconds"
 *     stdout:    for each a line, JSON QuotaLoadResult
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface QuotaLoadJob {
  readonly users: number
  readonly connections: number
  readonly perSecond: number
  readonly token: string
}

export interface QuotaLoadResult {
  readonly answered: number
  /** Due, and not sent in time. */
  readonly unsent: number
  /** Until the last answer. */
  readonly seconds: number
  /** From when a question was due, ms. */
  readonly latencies: Quantiles
}

const PROJECTS = 200
const DEPARTMENTS = 20

const job = JSON.parse(process.argv[2]!) as QuotaLoadJob
/** Goes on from one time to the next, so that everybody's turn comes. */
let turn = 0
const requests = Array.from({ length: job.users }, (_, i) => {
  const user = (i * 7919) % job.users
  const body = JSON.stringify({
    user_id: `user-${user}@example.org`,
    project: `project-${user % PROJECTS}`,
    department: `department-${user % DEPARTMENTS}`,
    amounts: { gpu_seconds: 60 },
  })
  const head = `POST /v1/quota/check HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer ${job.token}\r\nContent-Type: application/json\r\n`
  return Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)
})

/** One question at a time. */
class Connection {
  readonly #socket: Socket
  readonly #answered: (connection: Connection) => void
  #received = ''
  due = 0

  constructor(url: URL, answered: (connection: Connection) => void) {
    this.#answered = answered
    this.#socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (text: string) => this.#take(text))
    this.#socket.on('error', (error) => fail(error.message))
    this.#socket.on('close', () => {
      if (this.due > 0) fail('a connection was closed in the midst of an answer')
    })
  }

  ask(request: Buffer, due: number): void {
    this.due = due
    this.#socket.write(request)
  }

  end(): void {
    this.due = 0
    this.#socket.destroy()
  }

  #take(text: string): void {
    this.#received += text
    const head = this.#received.indexOf('\r\n\r\n')
    if (head < 0) return
    if (!this.#received.startsWith('HTTP/1.1 200')) fail(this.#received.slice(0, 500))
    const length = /\r\ncontent-length: (\d+)/i.exec(this.#received)?.[1]
    if (length === undefined) fail(`an answer without Content-Length: ${this.#received.slice(0, head)}`)
    if (this.#received.length < head + 4 + Number(length)) return
    this.#received = ''
    this.#answered(this)
  }
}

function fail(why: string): never {
  throw new Error(`asking about quotas failed: ${why}`)
}

async function run(url: string, forSeconds: number): Promise<QuotaLoadResult> {
  const latencies: number[] = []
  const idle: Connection[] = []
  const started = performance.now()
  const dueAt = (i: number): number => started + (i * 1000) / job.perSecond
  const end = started + forSeconds * 1000
  let sent = 0
  const isDue = (now: number): boolean => now < end && dueAt(sent) <= now
  const send = (connection: Connection): void => {
    connection.ask(requests[turn++ % job.users]!, dueAt(sent))
    sent++
  }
  const all = Array.from({ length: job.connections }, () => {
    const connection = new Connection(new URL(url), (answered) => {
      const now = performance.now()
      latencies.push(now - answered.due)
      if (isDue(now)) send(answered)
      else idle.push(answered)
    })
    idle.push(connection)
    return connection
  })
  for (let now = started; now < end || latencies.length < sent; now = performance.now()) {
    while (isDue(now) && idle.length > 0) send(idle.pop()!)
    // A timer would be a millisecond late: ten questions at once.
    await nextTurn()
  }
  const seconds = (performance.now() - started) / 1000
  for (const connection of all) connection.end()
  const unsent = Math.max(0, Math.round(forSeconds * job.perSecond) - sent)
  return { answered: latencies.length, unsent, seconds, latencies: quantiles(latencies) }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  const [url, seconds] = line.split(' ') as [string, string]
  void run(url, Number(seconds)).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`))
})
await once(lines, 'close')
process.exit()
