/**
 * `npm test`: builds, then runs every test. The quick ones side by side; then those with real processes, one file at a time, so
 * that they have the machine to themselves. Ends with one line: N passed, N failed, N skipped.
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
/** Their tests start programs, and measure or kill them. */
const ONE_AT_A_TIME = /^test\/(guarantees|interop|aggregator\/page)\//
/** The longest file builds a Prometheus first, in CI: three minutes on two cores, more on slower ones. */
const FILE_TIMEOUT_MS = 1_500_000

interface Counts {
  passed: number
  failed: number
  skipped: number
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
    const report = events.compose(new SpecReporter())
    report.on('end', resolve)
    report.on('error', reject)
    report.pipe(process.stdout, { end: false })
  })
}

const files = testFiles(process.argv.slice(2))
execFileSync('npm', ['run', '--silent', 'build'], { cwd: ROOT, stdio: 'inherit' })
const counts: Counts = { passed: 0, failed: 0, skipped: 0 }
await runFiles(
  files.filter((file) => !ONE_AT_A_TIME.test(file)),
  Math.max(1, availableParallelism() - 1),
  counts,
)
await runFiles(
  files.filter((file) => ONE_AT_A_TIME.test(file)),
  1,
  counts,
)
const nothing = counts.passed + counts.failed === 0
if (nothing) process.stdout.write(`no test ran: ${relative('.', ROOT) || '.'}/test holds none of these names\n`)
process.stdout.write(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped\n`)
process.exit(counts.failed > 0 || nothing ? 1 : 0)
