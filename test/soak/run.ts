/**
 * `npm run soak`: builds, then lets faults of every kind loose on real programs under steady load, and looks whether anything that
 * was acknowledged is lost or there twice.
 *
 *     npm run soak -- 30                          for 30 minutes (10 when not said)
 *     npm run soak -- 30 --seed 7 --rounds 100    the plan of seed 7, at most 100 rounds of it
 *     npm run soak -- 30 --every 5                compared after each 5 rounds instead of 10
 *     npm run soak -- 30 --kafka                  samples go by a Kafka, which is killed and stopped too (needs Java)
 *
 * Ctrl-C ends it after the round, with the comparison; a second one at once. A failure says how to repeat it, keeps the data
 * directory, and exits 1.
 */
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { onStopSignal } from '../../proto/runtime/child-process.ts'
import { Progress } from '../../proto/runtime/progress.ts'
import { noKafka } from '../support/kafka-broker.ts'
import { nameOf } from './plan.ts'
import type { Report } from './soak.ts'
import { lineOf, SoakFailure, soak } from './soak.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    rounds: { type: 'string' },
    every: { type: 'string', default: '10' },
    kafka: { type: 'boolean', default: false },
  },
})
const minutes = number('MINUTES', positionals[0] ?? '10')
const seed = number('--seed', values.seed ?? String(Math.floor(Math.random() * 2 ** 31)))
const rounds = values.rounds === undefined ? Number.POSITIVE_INFINITY : number('--rounds', values.rounds)
const began = performance.now()
/** Of a terminal there is a bar; elsewhere each round has a line. */
const terminal = process.stdout.isTTY && process.stderr.isTTY
const bar = new Progress('soak', {
  write: (text) => process.stderr.write(text),
  columns: process.stderr.columns,
  now: () => performance.now(),
})
let lastRound = 'the programs start'
const noBroker = values.kafka ? noKafka() : undefined
if (noBroker !== undefined) {
  process.stderr.write(`--kafka: ${noBroker}\n`)
  process.exit(69)
}
const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-soak-'))

function number(name: string, text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text)
  process.stderr.write(`${name}: "${text}" is no number\n`)
  process.exit(64)
}

function say(text: string): void {
  if (terminal) bar.clear()
  process.stdout.write(`${text}\n`)
}

function progress(text: string): void {
  lastRound = text
  if (!terminal) say(text)
}

function draw(): void {
  bar.update({ done: performance.now() - began, of: minutes * 60_000, detail: lastRound })
}

function summary(report: Report): string {
  const { compared, slowest } = report
  const rows: [string, string | number][] = [
    ['rounds', report.rounds],
    ['samples acknowledged', report.acknowledged],
    ['requests sent again', report.resent],
    ['samples compared', compared.expected],
    ['lost', compared.lost],
    ['twice', compared.twice],
    ['with another value', compared.wrong],
    ['that nobody sent', compared.foreign],
    ['slowest recovery', `${(slowest.ms / 1000).toFixed(1)} s (round ${slowest.round})`],
    ['starts that failed first', report.failedStarts],
  ]
  for (const [name, { hit, missed, skipped }] of [...report.faults].sort()) {
    const aside = [missed > 0 ? `${missed} found nothing to hit` : '', skipped > 0 ? `${skipped} skipped` : '']
    const more = aside.filter((text) => text !== '').join(', ')
    rows.push([name, `${hit}${more === '' ? '' : ` (${more})`}`])
  }
  for (const [name, count] of [...report.mishaps].sort()) rows.push([`requests: ${name}`, count])
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value.toLocaleString('en')}`).join('\n')
}

const enough = new AbortController()
onStopSignal(() => {
  say('ends after this round')
  enough.abort()
})
say(
  `seed ${seed}, ${minutes} minutes${Number.isFinite(rounds) ? `, at most ${rounds} rounds` : ''}, data in ${directory}`,
)
const onRound: Parameters<typeof soak>[0]['onRound'] = (round, report) => {
  if (round.number === 1) for (const [kind, reason] of report.missing) say(`skipped: ${kind}: ${reason}`)
  progress(lineOf(round, report))
}
const drawing = terminal ? setInterval(draw, 1000) : undefined
try {
  const options = {
    seed,
    rounds,
    forMs: minutes * 60_000,
    every: Number(values.every),
    scale: 1,
    senders: 4,
    kafka: values.kafka,
    enough: enough.signal,
  }
  const report = await soak({ ...options, directory, onRound })
  say(summary(report))
} catch (error) {
  if (!(error instanceof SoakFailure)) throw error
  say(summary(error.report))
  say(`FAILED in round ${error.round} (${error.faults.map(nameOf).join(', ') || 'the end'}), seed ${seed}`)
  say(error.message)
  say(
    `repeat: npm run soak -- ${minutes} --seed ${seed} --rounds ${error.round} --every ${values.every}${values.kafka ? ' --kafka' : ''}`,
  )
  say(`data and output of the programs: ${directory}`)
  process.exitCode = 1
} finally {
  clearInterval(drawing)
}
