/** Real peers: found or the test is skipped with the reason, and in CI it fails instead. */
import { spawnSync } from 'node:child_process'
import type { TestContext } from 'node:test'

/** @returns whether the command is there; when not, the test was skipped (or fails, in CI) */
export function hasPeer(t: TestContext, command: string, versionFlag: string, packageName: string): boolean {
  const found = spawnSync(command, [versionFlag], { encoding: 'utf8' })
  if (found.error === undefined) {
    t.diagnostic(`${command}: ${(found.stdout + found.stderr).split('\n')[0]}`)
    return true
  }
  skip(t, `${command} is not installed (${packageName})`)
  return false
}

/** Skips the test with the reason; in CI it fails. */
export function skip(t: TestContext, reason: string): void {
  if (process.env['CI'] !== undefined) throw new Error(`${reason}, and in CI nothing is skipped`)
  t.skip(reason)
}
