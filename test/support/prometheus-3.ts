/** A Prometheus 3 as it comes from its Go module: nobody packages it for Debian 12. */
import { execFile } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const MODULE = fileURLToPath(new URL('../interop/prometheus-3/', import.meta.url))

/** Builds it, which takes minutes. Needs `go`. @returns the program */
export async function buildPrometheus3(directory: string): Promise<string> {
  for (const file of ['go.mod', 'go.sum']) copyFileSync(join(MODULE, file), join(directory, file))
  const binary = join(directory, 'prometheus')
  const flags = ['-mod=mod', '-tags', 'remove_all_sd', '-o', binary]
  await promisify(execFile)('go', ['build', ...flags, 'github.com/prometheus/prometheus/cmd/prometheus'], {
    cwd: directory,
    maxBuffer: 64 * 1024 * 1024,
  })
  return binary
}
