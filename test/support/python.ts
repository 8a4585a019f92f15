/** A Python with packages of its own, for clients that are written in it. */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { hasPeer, skip } from './peers.ts'

/** Kept over runs. */
const DIRECTORY = process.env['FLEETMETER_TEST_PYTHON_VENV'] ?? join(tmpdir(), 'fleetmeter-python')

/** @param requirements path of a requirements file. @returns the interpreter; undefined: the test was skipped (or fails, in CI) */
export function pythonWith(t: TestContext, requirements: string): string | undefined {
  if (!hasPeer(t, 'python3', '--version', 'python3 with venv and pip')) return undefined
  const python = join(DIRECTORY, 'bin', 'python')
  const steps = [
    ...(existsSync(python) ? [] : [['python3', '-m', 'venv', DIRECTORY]]),
    [python, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--requirement', requirements],
  ]
  for (const [command, ...args] of steps) {
    const done = spawnSync(command!, args, { encoding: 'utf8', timeout: 300_000 })
    if (done.status === 0) continue
    skip(t, `"${[command, ...args].join(' ')}" failed: ${(done.error?.message ?? done.stderr).slice(-500)}`)
    return undefined
  }
  return python
}
