/**
 * `npm run bench -- quota-http`: what a check of quotas costs over HTTP, at four levels and with every counter in memory, beside an empty
 * Hono handler, in turn; how long a count of 10,000,000 rows of usage takes that nobody has in memory; and a thousand who ask at once.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrate } from '../aggregator/store/schema/migrate.ts'
import { startEngine } from '../test/support/engine.ts'
import type { Running } from '../test/support/programs.ts'
import { authorized, kill, ready, scrape, start, TOKEN, total } from '../test/support/programs.ts'
import { cpuSeconds } from './processes.ts'
import { quantiles } from './quantiles.ts'
import type { QuotaLoadJob, QuotaLoadResult } from './quota-load.process.ts'
import { Talker } from './talker.ts'

const LEVELS = ['user', 'project', 'department', 'tenant'] as const
const TENANT = 'default'
const USERS = 10_000
const PER_SECOND = 10_000
const CONNECTIONS = 64
const ASKERS = 1000
const ROWS = 10_000_000
const ROWS_AN_INSERT = 1_000_000
/** Of whom all rows are, at every level. */
const HEAVY = 'heavy'
/** Such a turn takes a minute. */
const COUNTS_TURNS_MAX = 2
const COUNTS = 'fleetmeter_aggregator_quota_count_queries_total'

/** Prints the tables. */
export async function quotaHttp(turns: number, seconds: number): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'fleetmeter-bench-'))
  try {
    await checks(directory, turns, seconds)
    await fill(directory)
    await counts(directory, Math.min(turns, COUNTS_TURNS_MAX))
  } finally {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function startAggregator(directory: string): Promise<Running> {
  const aggregator = await start('aggregator', {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_QUOTA_COUNT_MS: '60000',
    FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000000',
    FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000000',
  })
  await ready(aggregator.url)
  return aggregator
}

async function checks(directory: string, turns: number, seconds: number): Promise<void> {
  const aggregator = await startAggregator(directory)
  const job: QuotaLoadJob = { users: USERS, connections: CONNECTIONS, perSecond: PER_SECOND, token: TOKEN }
  const load = new Talker('./quota-load.process.ts', [JSON.stringify(job)])
  const floor = new Talker('./hono-floor.process.ts', [])
  try {
    const floorUrl = await floor.line()
    await load.line()
    for (const level of LEVELS) await define(aggregator.url, level)
    await warm(load, aggregator.url)
    const measure = async (pid: number, url: string): Promise<{ micros: number; result: QuotaLoadResult }> => {
      const before = cpuSeconds(pid)
      const result = JSON.parse(await load.ask(`${url} ${seconds}`)) as QuotaLoadResult
      return { micros: ((cpuSeconds(pid) - before) / result.answered) * 1e6, result }
    }
    console.log(
      `\n${PER_SECOND.toLocaleString('en')} questions a second for ${seconds} s, ${CONNECTIONS} connections\n`,
    )
    console.log('| | CPU µs / check | empty Hono handler | × | answered a second | | p50, ms | | p99, ms | |')
    console.log(`|---|${'---:|'.repeat(9)}`)
    const ratios: number[] = []
    for (let turn = 0; turn <= turns; turn++) {
      const empty = await measure(floor.pid, floorUrl)
      const check = await measure(aggregator.process.pid!, aggregator.url)
      const ratio = check.micros / empty.micros
      if (turn > 0) ratios.push(ratio)
      const both = [check.result, empty.result]
      const figures = [
        ...[check.micros, empty.micros].map((micros) => micros.toFixed(1)),
        ratio.toFixed(2),
        ...both.map((one) => Math.round(one.answered / one.seconds).toLocaleString('en')),
        ...both.map(({ latencies }) => latencies.p50.toFixed(1)),
        ...both.map(({ latencies }) => latencies.p99.toFixed(1)),
      ]
      console.log(`| ${[turn === 0 ? 'cold' : 'warm', ...figures].join(' | ')} |`)
    }
    console.log(`\nmedian × ${quantiles(ratios).p50.toFixed(2)}`)
  } finally {
    for (const one of [load, floor]) one.end()
    await kill(aggregator)
  }
}

/** Until everybody was asked about: each counter is in memory. */
async function warm(load: Talker, url: string): Promise<void> {
  for (let left = USERS; left > 0; ) {
    const { answered } = JSON.parse(await load.ask(`${url} 1`)) as QuotaLoadResult
    left -= answered
  }
}

async function define(url: string, level: string): Promise<void> {
  const quota = { level, resource: 'gpu_seconds', window: 'month', zone: 'UTC', limit: 1_000_000_000 }
  const response = await fetch(`${url}/v1/quotas`, {
    method: 'POST',
    headers: { ...authorized, 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...quota, valid_from: '2020-01-01T00:00:00Z' }),
  })
  if (response.status !== 201) throw new Error(`a quota was answered ${response.status}: ${await response.text()}`)
}

/** Usage of this month, as if it had been there always. */
async function fill(directory: string): Promise<void> {
  const engine = await startEngine(join(directory, 'aggregator', 'engine'))
  try {
    await migrate(engine.db, 'fleetmeter', { pointsDays: 30, rollupDays: 396, eventDays: 396 })
    for (let from = 0; from < ROWS; from += ROWS_AN_INSERT)
      await engine.db.command(`INSERT INTO fleetmeter.usage
        SELECT '${TENANT}', 0, 0, number, concat('task-', toString(intDiv(number, 20))), 1, 'gpu_seconds',
          toStartOfMonth(now()) + toIntervalMinute(15 * (number % 2600)), '${HEAVY}', '${HEAVY}', '${HEAVY}', 1, 0, '', 'measured'
        FROM numbers(${from}, ${ROWS_AN_INSERT})`)
  } finally {
    await engine.stop()
  }
}

/** Each time by a process that knows nothing. */
async function counts(directory: string, turns: number): Promise<void> {
  console.log(`\n${ROWS.toLocaleString('en')} rows of one subject\n`)
  console.log(`| seconds until counted | ${LEVELS.join(' | ')} | ${ASKERS} askers at once | queries for them |`)
  console.log(`|---|${'---:|'.repeat(LEVELS.length + 2)}`)
  for (let turn = 1; turn <= turns; turn++) {
    const seconds: number[] = []
    const first = await startAggregator(directory)
    for (const level of LEVELS) {
      const subject = level === 'tenant' ? TENANT : HEAVY
      seconds.push(await timed(() => ask(first.url, `/v1/subjects/${level}/${subject}/quotas`)))
    }
    await kill(first)
    const second = await startAggregator(directory)
    const before = total(await scrape(second.url), COUNTS)
    const question = { user_id: HEAVY, project: HEAVY, department: HEAVY, amounts: { gpu_seconds: 1 } }
    const all = Array.from({ length: ASKERS }, () => () => ask(second.url, '/v1/quota/check', question))
    seconds.push(await timed(() => Promise.all(all.map((one) => one()))))
    const queries = total(await scrape(second.url), COUNTS) - before
    await kill(second)
    console.log(`| turn ${turn} | ${seconds.map((n) => n.toFixed(2)).join(' | ')} | ${queries} |`)
  }
}

async function timed(does: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await does()
  return (performance.now() - started) / 1000
}

/** The answer is not degraded, and knows of every row. */
async function ask(url: string, path: string, body?: object): Promise<void> {
  const response = await fetch(`${url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { ...authorized, 'Content-Type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const { data, quotas } = JSON.parse(text) as Readonly<Record<string, { readonly used: string }[] | undefined>>
  const figures = data ?? quotas ?? []
  if (response.status !== 200 || figures.length === 0 || figures.some(({ used }) => used !== String(ROWS)))
    throw new Error(`${path} answered ${response.status}: ${text.slice(0, 500)}`)
}
