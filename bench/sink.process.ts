/**
 * Takes what is forwarded, as an aggregator would (batches) or as remote write, and keeps it. For each line on its standard
 * input it prints what it got since the last by either way, JSON `Received`: read only then, so that reading does not hold up
 * whoever forwards.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { decodeBatch } from '../proto/wire/batch.ts'
import { decimalValue, RAW_FLOAT } from '../proto/wire/decimal.ts'
import { readWriteRequest } from '../proto/wire/remote-write.ts'
import { portableSnappy } from '../proto/wire/snappy.ts'

/** What came by one way. */
export interface Forwarded {
  readonly samples: number
  readonly sum: number
  readonly bytes: number
}

export interface Received {
  readonly batches: Forwarded
  readonly writes: Forwarded
}

const BODY_BYTES_MAX = 256 * 1024 * 1024
const TWO_32 = 4294967296

let bodies: { readonly batch: boolean; readonly bytes: Uint8Array }[] = []

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const batch = request.url?.startsWith('/intake/') === true
    const isFlush = request.url === '/intake/v1/flush' // a collector that stops asks for it; it carries nothing
    if (request.method === 'POST' && !isFlush) bodies.push({ batch, bytes: Buffer.concat(chunks) })
    if (batch) response.writeHead(200, { 'Content-Type': 'application/json' }).end('{"stored":true,"expired":0}')
    else response.writeHead(request.method === 'POST' ? 204 : 200).end()
  })
})

const value = new DataView(new ArrayBuffer(8))

function batch(bytes: Uint8Array): { samples: number; sum: number } {
  const { samples } = decodeBatch(bytes)
  const { words, exponents } = samples
  let sum = 0
  for (let i = 0; i < samples.count; i++) {
    if (exponents[i] === RAW_FLOAT) {
      value.setUint32(0, words[2 * i]!, true)
      value.setUint32(4, words[2 * i + 1]!, true)
      sum += value.getFloat64(0, true)
    } else sum += decimalValue((words[2 * i + 1]! | 0) * TWO_32 + words[2 * i]!, exponents[i]!)
  }
  return { samples: samples.count, sum }
}

function remoteWrite(bytes: Uint8Array): { samples: number; sum: number } {
  let samples = 0
  let sum = 0
  readWriteRequest(portableSnappy.uncompress(bytes, BODY_BYTES_MAX), {
    expect: () => 0,
    series() {},
    sample(_time, low, high) {
      value.setUint32(0, low, true)
      value.setUint32(4, high, true)
      samples++
      sum += value.getFloat64(0, true)
    },
    retract() {},
    histogram() {},
    exemplarMessage() {},
    metadataMessage() {},
  })
  return { samples, sum }
}

function forwarded(batches: boolean): Forwarded {
  const own = bodies.filter((body) => body.batch === batches)
  const parts = own.map(({ bytes }) => (batches ? batch(bytes) : remoteWrite(bytes)))
  return {
    samples: parts.reduce((n, part) => n + part.samples, 0),
    sum: parts.reduce((n, part) => n + part.sum, 0),
    bytes: own.reduce((n, { bytes }) => n + bytes.length, 0),
  }
}

function received(): Received {
  const got = { batches: forwarded(true), writes: forwarded(false) }
  bodies = []
  return got
}

server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`)
})
const lines = createInterface({ input: process.stdin })
lines.on('line', () => process.stdout.write(`${JSON.stringify(received())}\n`))
await once(lines, 'close')
process.exit()
