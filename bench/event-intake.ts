/**
 * What does it cost to take 10,000 events a second in the centre, half of them through the owner log, in batches of 100? An aggregator
 * with its embedded engine; the bench plays the collectors with batches that were made before, and sends again what is to come later. In
 * the end what is stored must be what was sent.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sendEvents } from '../test/support/events.ts'
import { enginePid, ready, scrape, start, terminate, total } from '../test/support/programs.ts'
import { BATCHES_PER_SECOND, EventLoad } from './event-load.ts'
import { cpuSeconds, memoryMib } from './processes.ts'
import { quantiles } from './quantiles.ts'
import { row } from './table.ts'

/** Making a batch before it is sent takes some ms. */
const MAKE_MS = 4
const AGAIN_MS = 500
const ANSWER_MS = 120_000
/** Until code is compiled. */
const COLD_SECONDS = 10
const PREFIX = 'fleetmeter_aggregator_'

/** Prints the table. */
export async function eventIntake(turns: number, seconds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
  })
  try {
    await ready(aggregator.url)
    const pids = { aggregator: aggregator.process.pid!, engine: enginePid(aggregator)! }
    const columns = [
      'CPU µs / event: aggregator',
      'engine',
      'a second',
      'told to come later',
      'answered p50, ms',
      'p99',
    ]
    columns.push('loop delay p99, ms', 'log writes a second', 'figures of tasks made')
    console.log(`| ${['', ...columns].join(' | ')} |`)
    console.log(`|---|${'---:|'.repeat(columns.length)}`)
    const logs: string[] = []
    for (let turn = 0; turn <= turns; turn++) {
      const name = turn === 0 ? 'cold' : 'warm'
      const count = (turn === 0 ? Math.min(seconds, COLD_SECONDS) : seconds) * BATCHES_PER_SECOND
      const begin = Date.now() + count * MAKE_MS
      const load = new EventLoad(begin)
      const batches = Array.from({ length: count }, () => load.next())
      await sleep(begin - Date.now())
      const before = await scrape(aggregator.url) // delays are counted from one reading to the next
      const used = (): number[] => Object.values(pids).map(cpuSeconds)
      const cpu = used()
      const sent = await send(aggregator.url, batches)
      const after = await scrape(aggregator.url)
      const done = used()
      const { events, logged } = load.counts
      const grown = (name: string): number => total(after, `${PREFIX}${name}`) - total(before, `${PREFIX}${name}`)
      if (grown('events_stored_total') !== events)
        throw new Error(`${grown('events_stored_total')} of ${events} events are stored`)
      row(
        name,
        [
          ...done.map((seconds, i) => ((seconds - cpu[i]!) / events) * 1e6),
          events / sent.seconds,
          sent.again,
          sent.p50,
          sent.p99,
          total(after, 'nodejs_eventloop_lag_p99_seconds') * 1000,
          grown('owner_log_groups_total') / sent.seconds,
          grown('task_calculations_total'),
        ],
        1,
      )
      logs.push(`${name}: ${events} events, ${logged} logged, of ${load.tasks} tasks`)
    }
    console.log(
      `\n${logs.join('; ')}\npeak memory, MiB: aggregator ${memoryMib(pids.aggregator).peak.toFixed(0)}, engine ${memoryMib(pids.engine).peak.toFixed(0)}`,
    )
  } finally {
    await terminate(aggregator)
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Each at its time, and again until it is stored. */
async function send(
  url: string,
  batches: readonly Uint8Array<ArrayBuffer>[],
): Promise<{ readonly seconds: number; readonly again: number; readonly p50: number; readonly p99: number }> {
  const started = performance.now()
  const answered: number[] = []
  let again = 0
  await Promise.all(
    batches.map(async (batch, i) => {
      await sleep((i * 1000) / BATCHES_PER_SECOND)
      const since = performance.now()
      while ((await sendEvents(url, batch, ANSWER_MS)) !== 200) {
        again++
        await sleep(AGAIN_MS)
      }
      answered.push(performance.now() - since)
    }),
  )
  return { seconds: (performance.now() - started) / 1000, again, ...quantiles(answered) }
}
