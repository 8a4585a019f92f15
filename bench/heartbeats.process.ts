/**
 * Nebula's node daemons: each beats with seven points (a GPU and its engine) as JSON, over keep-alive connections from as many
 * addresses, at a given rate.
 *
 *     arguments: JSON HeartbeatsJob
 *     prints:    `ready`, then for each line on its standard input: `make` makes the next beats of all daemons, and is answered
 *                `made`; `ADDRESS`, to which they are sent, a JSON HeartbeatsResult
 *
 * Written on bare sockets: `http.request` would cost more than the server that is measured.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface HeartbeatsJob {
  readonly daemons: number
  readonly connections: number
  /** Beats of each daemon that are made at a time. */
  readonly rounds: number
  readonly perSecond: number
  readonly token: string
}

export interface HeartbeatsResult {
  readonly beats: number
  readonly points: number
  /** Of all values. */
  readonly sum: number
  readonly bytes: number
  readonly seconds: number
  /** Request to answer, ms. */
  readonly latencies: Quantiles
}

const LOOK_EVERY_MS = 2
/** Between a daemon's beats. */
const STEP_MS = 10
const OK = 'HTTP/1.1 200 OK\r\n'

const job = JSON.parse(process.argv[2]!) as HeartbeatsJob
let seed = 42
let clock = Date.now() - 600_000
let beats: Buffer[] = []
let sum = 0

function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) | 0
  return (seed >>> 0) / 4294967296
}

/** As a Rust daemon prints a double. */
function double(value: number): string {
  sum += value
  return Number.isInteger(value) ? `${value}.0` : String(value)
}

function beat(daemon: number, time: string): Buffer {
  const node = `"node_id":"gpu-${String(daemon >> 3).padStart(5, '0')}"`
  const gpu = `"gpu_index":"${daemon & 7}"`
  const replica = [node, `"model_uid":"qwen-${daemon % 61}-72b-instruct"`, `"replica_id":"${daemon}"`]
  // Labels stand in a hash map there: in any order.
  if (random() < 0.5) replica.reverse()
  const ofGpu = random() < 0.5 ? `${node},${gpu}` : `${gpu},${node}`
  const point = (name: string, labels: string, value: number): string =>
    `{"name":"${name}","labels":{${labels}},"value":${double(value)},"timestamp":"${time}"}`
  const body = `{"metrics":[${[
    point('gpu_memory_used_mb', ofGpu, 61_000 + Math.floor(random() * 9000)),
    point('gpu_memory_total_mb', ofGpu, 81_559),
    point('gpu_temperature', ofGpu, 41 + Math.floor(random() * 30)),
    point('gpu_utilization', ofGpu, Math.floor(random() * 101)),
    point('pending_requests', replica.join(), Math.floor(random() * 40)),
    point('kv_cache_usage', replica.join(), Math.floor(random() * 1001) / 1000),
    point('prefix_cache_hit_rate', replica.join(), random()),
  ].join()}]}`
  return Buffer.from(
    `POST /v1/metrics/batch HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer ${job.token}\r\naccept: */*\r\nhost: 127.0.0.1\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
}

function make(): void {
  beats = []
  sum = 0
  for (let round = 0; round < job.rounds; round++) {
    clock += STEP_MS
    const time = new Date(clock).toISOString().replace('Z', '000721Z')
    for (let daemon = 0; daemon < job.daemons; daemon++) beats.push(beat(daemon, time))
  }
}

/** A connection that sends one request at a time. */
class Connection {
  readonly #socket: Socket
  readonly #idle: (connection: Connection, ms: number) => void
  #answer = ''
  #since = 0

  constructor(port: number, index: number, idle: (connection: Connection, ms: number) => void) {
    this.#idle = idle
    this.#socket = connect({ port, host: '127.0.0.1', localAddress: `127.0.1.${index + 1}`, noDelay: true })
    this.#socket.setEncoding('latin1')
    this.#socket.on('data', (text: string) => this.#read(text))
    this.#socket.on('error', fail)
  }

  async connected(): Promise<void> {
    await once(this.#socket, 'connect')
  }

  send(request: Buffer): void {
    this.#since = performance.now()
    this.#socket.write(request)
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(text: string): void {
    this.#answer += text
    const end = this.#answer.indexOf('\r\n\r\n')
    if (end < 0) return
    const length = Number(/^content-length: (\d+)/im.exec(this.#answer)?.[1])
    if (this.#answer.length < end + 4 + length) return
    if (!this.#answer.startsWith(OK) || this.#answer.includes('rejected')) fail(new Error(this.#answer))
    this.#answer = ''
    this.#idle(this, performance.now() - this.#since)
  }
}

function fail(error: Error): never {
  throw error
}

async function send(url: string): Promise<HeartbeatsResult> {
  const port = Number(new URL(url).port)
  const idle: Connection[] = []
  const latencies: number[] = []
  let sent = 0
  let done = (): void => {}
  const all = new Promise<void>((resolve) => {
    done = resolve
  })
  const connections = Array.from(
    { length: job.connections },
    (_, i) =>
      new Connection(port, i, (connection, ms) => {
        latencies.push(ms)
        idle.push(connection)
        if (latencies.length === beats.length) done()
        else go()
      }),
  )
  await Promise.all(connections.map((connection) => connection.connected()))
  idle.push(...connections)
  const started = performance.now()
  const go = (): void => {
    const due = Math.min(beats.length, ((performance.now() - started) / 1000) * job.perSecond)
    while (sent < due && idle.length > 0) idle.shift()!.send(beats[sent++]!)
  }
  const timer = setInterval(go, LOOK_EVERY_MS)
  await all
  clearInterval(timer)
  const seconds = (performance.now() - started) / 1000
  for (const connection of connections) connection.close()
  const bytes = beats.reduce((n, { length }) => n + length, 0)
  return { beats: beats.length, points: 7 * beats.length, sum, bytes, seconds, latencies: quantiles(latencies) }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  if (line === 'make') {
    make()
    process.stdout.write('made\n')
  } else void send(line).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`), fail)
})
await once(lines, 'close')
process.exit()
