/** How far a long look through a journal is: a bar on a terminal (one of util-linux' `script`), lines elsewhere, nothing of short work. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { writeJournal } from '../../support/journals.ts'
import { hasPeer } from '../../support/peers.ts'
import { temporaryDirectory } from '../../support/programs.ts'

const SPOOL = fileURLToPath(new URL('../../../dist/collector/spool/main.js', import.meta.url))

/** Far more than a pipe holds, in ten segments. */
function journal(): string {
  const directory = join(temporaryDirectory(), 'samples-0')
  writeJournal(
    directory,
    Array.from({ length: 40 }, () => 1000),
    10_000,
  )
  return directory
}

/** The reader of the results starts late: until then the tool waits, and time passes. */
const dump = (directory: string): string =>
  `'${process.execPath}' '${SPOOL}' dump '${directory}' | (sleep 2; cat >/dev/null)`

test('spool on a terminal draws a bar and leaves nothing of it', (t) => {
  if (!hasPeer(t, 'script', '--version', 'util-linux')) return
  const { stdout, status } = spawnSync('script', ['-qec', `stty cols 100; ${dump(journal())}`, '/dev/null'], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout)
  const lines = stdout.split('\r\u001b[2K')
  assert.match(lines[1] ?? '', /^reading samples-0 \[#*\.+\] \d+ % \(segment \d+ of \d+, [^)]+\) about \d+ s left$/)
  assert.ok(stdout.endsWith('\r\u001b[2K'), JSON.stringify(stdout.slice(-200)))
})

test('spool elsewhere says how far it is in plain lines, and nothing of short work', () => {
  const long = spawnSync('bash', ['-c', dump(journal())], { encoding: 'utf8' })
  assert.match(long.stderr, /^(reading samples-0: \d+ % \(segment \d+ of \d+, [^)]+\) about \d+ s left\n)+$/)
  const little = join(temporaryDirectory(), 'samples-0')
  writeJournal(little, [1])
  const short = spawnSync(process.execPath, [SPOOL, 'verify', little], { encoding: 'utf8' })
  assert.deepEqual([short.status, short.stderr], [0, ''])
})
