/**
 * `npm test`: builds, then runs every test. First the quick ones side by side, as many as there are processors; then those with real
 * peers and real processes, two at a time; last those that measure, one at a time, so that they have the machine to themselves. Ends
 * with the slowest files, and one line: N passed, N failed, N skipped.
 *
 *     npm test                        everything
 *     npm test -- test/proto query    files whose path holds one of the words
 */
import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { spec as SpecReporter } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
/** Their tests wait for peers most of the time: a minute of samples, a build. */
const WAITING = /^test\/interop\//
/** Their tests start programs, kill and restart them: that is work for a processor. */
const KILLING = /^test\/(guarantees|aggregator\/page)\//
/** Their tests hold latencies, rates, memory or the time to a stop against a bound, or count what a machine gets done. */
const MEASURING =
  /^test\/(interop\/limiter|guarantees\/(hostile-input|one-sender-harms-no-other|overload|sigterm-drains|soak))\./
/** The longest file builds a Prometheus first, in CI: three minutes on two cores, more on slower ones. */
const FILE_TIMEOUT_MS = 1_500_000

/** Files that are named at the end, of a run that took longer than a minute. */
const SLOWEST = 10
const LONG_MS = 60_000

interface Counts {
  passed: number
  failed: number
  skipped: number
  /** How long each file took, ms. */
  readonly took: Map<string, number>
}

function testFiles(words: readonly string[]): string[] {
  return readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .map((name) => join('test', name))
    .filter((name) => name.endsWith('.test.ts') && (words.length === 0 || words.some((word) => name.includes(word))))
    .sort()
}

/** Runs the files and adds to the counts what really ran: tests, not suites nor files. */
function runFiles(files: readonly string[], concurrency: number, counts: Counts): Promise<void> {
  if (files.length === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const events = run({ files: files.map((file) => join(ROOT, file)), concurrency, timeout: FILE_TIMEOUT_MS })
    events.on('test:pass', ({ details, skip }) => {
      if (details.type === 'suite') return
      if (skip === undefined || skip === false) counts.passed++
      else counts.skipped++
    })
    events.on('test:fail', ({ details, todo }) => {
      if (details.type !== 'suite' && (todo === undefined || todo === false)) counts.failed++
    })
    events.on('test:complete', ({ name, nesting, details }) => {
      const file = relative(ROOT, name)
      if (nesting === 0 && files.includes(file)) counts.took.set(file, details.duration_ms)
    })
    const report = events.compose(new SpecReporter())
    report.on('end', resolve)
    report.on('error', reject)
    report.pipe(process.stdout, { end: false })
  })
}

/** One of each in turn, so that one that waits runs beside one that works. */
function alternating(some: readonly string[], others: readonly string[]): string[] {
  return Array.from({ length: Math.max(some.length, others.length) }, (_, i) => [some[i], others[i]])
    .flat()
    .filter((file) => file !== undefined)
}

function sayTimes({ took }: Counts): void {
  const slowest = [...took].sort(([, a], [, b]) => b - a).slice(0, SLOWEST)
  for (const [file, ms] of slowest) process.stdout.write(`${(ms / 1000).toFixed(0).padStart(5)} s  ${file}\n`)
  process.stdout.write(`${(performance.now() / 1000).toFixed(0).padStart(5)} s  altogether\n`)
}

const files = testFiles(process.argv.slice(2))
execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' })
const counts: Counts = { passed: 0, failed: 0, skipped: 0, took: new Map() }
const measuring = files.filter((file) => MEASURING.test(file))
const others = files.filter((file) => !MEASURING.test(file))
const waiting = others.filter((file) => WAITING.test(file))
const killing = others.filter((file) => KILLING.test(file))
const quick = others.filter((file) => !WAITING.test(file) && !KILLING.test(file))
await runFiles(quick, availableParallelism(), counts)
await runFiles(alternating(waiting, killing), 2, counts)
await runFiles(measuring, 1, counts)
if (performance.now() > LONG_MS) sayTimes(counts)
const nothing = counts.passed + counts.failed === 0
if (nothing) process.stdout.write(`no test ran: ${relative('.', ROOT) || '.'}/test holds none of these names\n`)
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
process.exit(counts.failed > 0 || nothing ? 1 : 0)
