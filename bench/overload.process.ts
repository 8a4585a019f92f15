/**
 * Senders of a fleet's samples, made before the clock runs.
 *
 *     arguments: JSON OverloadJob
 *     prints:    `ready`, then for each JSON OverloadTurn on a line of its standard input a JSON OverloadResult
 *
 * Closed loop: each connection sends its next body when the one before is answered. Open loop: a body is due at its time, whatever
 * became of those before; its latency counts from then, and what is refused is not sent again.
 */
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Fleet, SAMPLES_PER_REQUEST } from './fleet.ts'
import { HttpConnection, wholeRequest } from './http-connection.ts'
import type { Quantiles } from './quantiles.ts'
import { quantiles } from './quantiles.ts'

export interface OverloadJob {
  readonly nodes: number
  /** Bodies for all turns together. */
  readonly bodies: number
  /** Each with an address of its own. */
  readonly senders: number
}

export interface OverloadTurn {
  readonly url: string
  readonly seconds: number
  /** Bodies a second in an open loop; 0: a closed loop. */
  readonly rate: number
}

export interface OverloadResult {
  readonly seconds: number
  readonly offered: number
  readonly accepted: number
  readonly refused: number
  /** Due, and no connection was free until the end. */
  readonly unsent: number
  /** Connections lost, other answers, and refusals without Retry-After. */
  readonly wrong: number
  /** ms. */
  readonly latencies: Quantiles
  readonly refusals: Quantiles
  /** Sending behind its time at most, ms. */
  readonly lagMs: number
}

const CONNECTIONS_CLOSED = 16
/** Of each sender, in an open loop. */
const CONNECTIONS_OPEN = 512
const STEP_MS = 100

const HEADERS = ['Content-Type: application/x-protobuf', 'Content-Encoding: snappy']
const TAKEN = 204
const REFUSED = 503

const job = JSON.parse(process.argv[2]!) as OverloadJob
const fleet = new Fleet(job.nodes)
const perRound = Math.ceil(fleet.series / SAMPLES_PER_REQUEST)
const begin = Date.now() - Math.ceil(job.bodies / perRound) * STEP_MS
const requests: (Uint8Array | undefined)[] = []
for (let i = 0; i < job.bodies; i++) {
  const body = fleet.request(begin + Math.floor(i / perRound) * STEP_MS)
  requests.push(wholeRequest('/api/v1/write', HEADERS, body))
}
let next = 0
/** What was refused is as new, and making bodies takes long: the first of them first, as senders keep the order of time. */
const again: Uint8Array[] = []
let againNext = 0

function nextRequest(): Uint8Array {
  if (againNext < again.length) return again[againNext++]!
  const request = requests[next]
  if (request === undefined) throw new Error('there are not enough bodies: raise RATE_MAX')
  requests[next++] = undefined // its memory is needed
  return request
}

/** Connections of one sender: what is due while all of them wait for answers waits for one that is free. */
class Sender {
  readonly #free: HttpConnection[]
  readonly #all: readonly HttpConnection[]
  readonly #waiting: ((connection: HttpConnection | undefined) => void)[] = []

  constructor(url: string, localAddress: string, connections: number) {
    this.#all = Array.from({ length: connections }, () => new HttpConnection(url, localAddress))
    this.#free = [...this.#all]
  }

  async open(): Promise<void> {
    for (const connection of this.#all) await connection.open()
  }

  /** A connection that nobody uses, until {@link free}; undefined once it is too late for what is due. */
  async take(): Promise<HttpConnection | undefined> {
    return this.#free.pop() ?? (await new Promise((resolve) => this.#waiting.push(resolve)))
  }

  free(connection: HttpConnection): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(connection)
    else next(connection)
  }

  /** What is due and has no connection is not sent. */
  end(): void {
    for (const next of this.#waiting.splice(0)) next(undefined)
  }

  close(): void {
    for (const connection of this.#all) connection.close()
  }
}

class Tally {
  offered = 0
  unsent = 0
  wrong = 0
  lag = 0
  readonly accepted: number[] = []
  readonly refused: number[] = []

  /** @param due when it should have been sent */
  async send(sender: Sender, due: number): Promise<void> {
    this.offered++
    this.lag = Math.max(this.lag, performance.now() - due)
    const connection = await sender.take()
    if (connection === undefined) {
      this.unsent++
      return
    }
    const request = nextRequest()
    const { status, head } = await connection.send(request)
    sender.free(connection)
    const ms = performance.now() - due
    if (status === TAKEN) this.accepted.push(ms)
    else if (status === REFUSED && /\r\nretry-after:/i.test(head)) {
      this.refused.push(ms)
      again.push(request)
    } else this.wrong++
  }
}

async function run({ url, seconds, rate }: OverloadTurn): Promise<OverloadResult> {
  const tally = new Tally()
  const connections = rate === 0 ? CONNECTIONS_CLOSED / job.senders : CONNECTIONS_OPEN
  const senders = Array.from({ length: job.senders }, (_, s) => new Sender(url, `127.0.0.${2 + s}`, connections))
  for (const sender of senders) await sender.open() // as those are that send all the time
  const started = performance.now()
  const end = started + seconds * 1000
  const waiting = new Set<Promise<void>>()
  if (rate === 0) {
    const connection = async (sender: Sender): Promise<void> => {
      while (performance.now() < end) await tally.send(sender, performance.now())
    }
    for (let n = 0; n < CONNECTIONS_CLOSED; n++) waiting.add(connection(senders[n % senders.length]!))
  } else {
    for (let n = 0; n < rate * seconds; n++) {
      const due = started + (n * 1000) / rate
      const early = due - performance.now()
      if (early > 0) await sleep(early)
      const sent = tally.send(senders[n % senders.length]!, due)
      waiting.add(sent)
      void sent.then(() => waiting.delete(sent))
    }
  }
  // Of an open loop, what was answered within its time counts; the rest only has its latency.
  const inTime = tally.accepted.length
  const took = (performance.now() - started) / 1000
  if (rate > 0) for (const sender of senders) sender.end()
  await Promise.all(waiting)
  for (const sender of senders) sender.close()
  const accepted = rate === 0 ? tally.accepted.length : inTime
  return {
    seconds: rate === 0 ? (performance.now() - started) / 1000 : took,
    offered: tally.offered,
    accepted,
    refused: tally.refused.length,
    unsent: tally.unsent,
    wrong: tally.wrong,
    latencies: quantiles(tally.accepted),
    refusals: quantiles(tally.refused),
    lagMs: tally.lag,
  }
}

process.stdout.write('ready\n')
const lines = createInterface({ input: process.stdin })
lines.on('line', (line) => {
  void run(JSON.parse(line) as OverloadTurn).then((result) => process.stdout.write(`${JSON.stringify(result)}\n`))
})
await once(lines, 'close')
process.exit()
