/**
 * What does a sample cost in aggregation rules? `node --expose-gc --import tsx bench/rules.process.ts`
 *
 * 200 hosts × 8 GPUs × 30 metrics, a sample each ten seconds, minute figures by host: 288,000 samples in, 18,000 out. Against
 * it: what forwarding a sample costs a collector, in README.md.
 */
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { Merger } from '../collector/rules/merger.ts'
import { OutputBodies } from '../collector/rules/output-bodies.ts'
import { readRules } from '../collector/rules/read-rules.ts'
import { ShardRules } from '../collector/rules/shard-rules.ts'
import type { Label } from '../proto/wire/labels.ts'
import { quantiles } from './quantiles.ts'

const MINUTE = 60_000
const HOSTS = 200
const GPUS = 8
const METRICS = 30
const STEP_MS = 10_000
const MINUTES = 20
const START = 1_761_991_200_000
const OUTPUTS = ['avg', 'max', 'last']

const { rules, problems } = readRules([
  { match: '{__name__=~"DCGM_.*"}', interval: '1m', by: ['Hostname'], outputs: OUTPUTS },
])
assert.deepEqual(problems, [])
const shard = new ShardRules(rules, { keepMs: 300_000, pointsMax: 10_000_000, groupsMax: 100_000 })
let given = 0
const bodies = new OutputBodies((body) => {
  given += body.outputs
})
const merger = new Merger(rules, 1, { keepMs: 300_000, collector: 'bench' })

const joinStart = performance.now()
const members = new Int32Array(HOSTS * GPUS * METRICS)
for (let i = 0; i < members.length; i++) members[i] = shard.join('default', `DCGM_FI_DEV_${i % METRICS}`, labelsOf(i))
const joinMs = performance.now() - joinStart

const adds: number[] = []
const emissions: number[] = []
const merges: number[] = []
const words = new Uint32Array(2)
const value = new Float64Array(words.buffer)
let outputs = 0
for (let minute = 0; minute < MINUTES; minute++) {
  const start = START + minute * MINUTE
  let began = performance.now()
  for (let time = start + STEP_MS; time <= start + MINUTE; time += STEP_MS) {
    for (let i = 0; i < members.length; i++) {
      value[0] = ((i * 7 + time / STEP_MS) % 1000) / 10
      shard.add(members[i]!, i + 1, time, words[0]!, words[1]!, time * 1000 + 7, 0)
    }
  }
  adds.push(performance.now() - began)
  began = performance.now()
  const emission = shard.emit(start + MINUTE + 5000)!
  shard.forget(start + MINUTE + 5000)
  emissions.push(performance.now() - began)
  began = performance.now()
  merger.take(0, structuredClone(emission))
  merger.give(bodies)
  merges.push(performance.now() - began)
  assert.equal(given, HOSTS * METRICS * OUTPUTS.length)
  outputs += given
  given = 0
}

const samples = members.length * (MINUTE / STEP_MS)
const perSample = (ms: readonly number[]): string => ((quantiles(ms).p50 / samples) * 1e6).toFixed(0)
console.log(`${samples} samples a minute, ${outputs / MINUTES} outputs; Node ${process.version}`)
console.log(`join       ${((joinMs / members.length) * 1000).toFixed(1)} µs a series`)
console.log(`add        ${perSample(adds)} ns a sample`)
console.log(`emit       ${perSample(emissions)} ns a sample, ${quantiles(emissions).max.toFixed(0)} ms at most`)
console.log(
  `merge      ${perSample(merges)} ns a sample, ${quantiles(merges).max.toFixed(0)} ms at most, clone and bodies included`,
)
// With --expose-gc, for the figure of memory: buffers are given back a moment later.
for (let i = 0; i < 3; i++) {
  globalThis.gc?.()
  await setTimeout(100)
}
const bytes = process.memoryUsage().arrayBuffers
console.log(`kept       ${shard.points} points, ${(bytes / shard.points).toFixed(1)} bytes each`)

function labelsOf(i: number): Label[] {
  const gpu = Math.floor(i / METRICS) % GPUS
  const host = Math.floor(i / METRICS / GPUS)
  return [
    ['Hostname', `gpu-node-${host}`],
    ['gpu', String(gpu)],
    ['modelName', 'NVIDIA H100 80GB HBM3'],
    ['UUID', `GPU-${host}-${gpu}`],
  ]
}
