/** The public Rust client of xtrace writes and reads back through the collector's address. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startPair } from '../support/pair.ts'
import { hasPeer } from '../support/peers.ts'
import { TOKEN } from '../support/programs.ts'

const CRATE = fileURLToPath(new URL('./xtrace-client/', import.meta.url))
/** Kept over runs: the first build compiles some hundred and fifty crates. */
const TARGET = process.env['CARGO_TARGET_DIR'] ?? join(tmpdir(), 'fleetmeter-cargo-target')

interface Report {
  readonly pushed: string
  readonly sent_at: string
  readonly names: string[]
  readonly answers: readonly {
    series: { labels: Record<string, string>; last: number }[]
    latest_ts: string
    series_count: number
    truncated: boolean
  }[]
}

test('the xtrace-client crate writes a heartbeat and reads it as router and scheduler do', {
  timeout: 600_000,
}, async (t) => {
  if (!hasPeer(t, 'cargo', '--version', 'Rust, by rustup or the Debian package cargo')) return
  await promisify(execFile)('cargo', ['build', '--quiet', '--locked'], {
    cwd: CRATE,
    env: { ...process.env, CARGO_TARGET_DIR: TARGET },
  })
  const { collector } = await startPair(t)
  const { stdout } = await promisify(execFile)(join(TARGET, 'debug', 'xtrace-client-peer'), [collector.url, TOKEN])
  const { pushed, sent_at, names, answers } = JSON.parse(stdout) as Report
  assert.equal(pushed, 'Request Successful.')
  assert.deepEqual(names, ['kv_cache_usage', 'pending_requests'])
  assert.deepEqual(
    answers.map((a) => a.series.map((s) => s.last)),
    [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7].map((n) => n * 0.125)],
  )
  for (const answer of answers) {
    assert.equal(Date.parse(answer.latest_ts), Date.parse(sent_at), 'latest_ts is the time of the sample itself')
    assert.deepEqual([answer.series_count, answer.truncated], [8, false])
    assert.deepEqual(answer.series[3]!.labels, { model_uid: 'qwen-72b', node_id: 'node-1', replica_id: '3' })
  }
})
