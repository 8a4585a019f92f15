/**
 * Programs that a bench measures beside: those of this machine, or fetched into a folder of the bench's own. Nothing is installed, and
 * no rights are needed.
 *
 *     vmagent       Debian's package `victoria-metrics`, unpacked: apt-get download, dpkg-deb
 *     Prometheus 3  built from its Go module, some minutes: go
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildPrometheus3 } from '../test/support/prometheus-3.ts'

export interface Peer {
  readonly command: string
  /** Name and version, as a table says them. */
  readonly version: string
}

const PEERS = fileURLToPath(new URL('../node_modules/.cache/fleetmeter-bench/', import.meta.url))
const PACKAGE = 'victoria-metrics'

/** @throws Error with what to do when it is not there and cannot be had */
export function vmagentPeer(): Peer {
  const own = join(PEERS, PACKAGE, 'usr/bin/vmagent')
  const isThere = ranWell('vmagent', ['-version'])
  if (!isThere && !existsSync(own)) fetchPackage()
  const command = isThere ? 'vmagent' : own
  // Debian's build says nothing of its version: the package does.
  const { stdout, stderr } = spawnSync(command, ['-version'], { encoding: 'utf8' })
  return { command, version: `vmagent ${(stdout + stderr).trim() || versionOfPackage()} (Debian's ${PACKAGE})` }
}

/** `FLEETMETER_TEST_PROMETHEUS_3` names one that is there. @throws Error with what to do when it is not there and cannot be had */
export async function prometheus3Peer(): Promise<Peer> {
  const given = process.env['FLEETMETER_TEST_PROMETHEUS_3']
  const directory = join(PEERS, 'prometheus-3')
  const own = join(directory, 'prometheus')
  if (given === undefined && !existsSync(own)) {
    if (!ranWell('go', ['version']))
      throw new Error(
        'a Prometheus 3, which this bench measures beside, is built from its Go module: install `go`, or set FLEETMETER_TEST_PROMETHEUS_3 to one that is there',
      )
    console.log('building a Prometheus 3: some minutes, once')
    mkdirSync(directory, { recursive: true })
    await buildPrometheus3(directory)
  }
  const command = given ?? own
  const { stdout, stderr } = spawnSync(command, ['--version'], { encoding: 'utf8' })
  return { command, version: (stdout + stderr).split('\n')[0]!.trim() }
}

function fetchPackage(): void {
  const directory = join(PEERS, PACKAGE)
  mkdirSync(directory, { recursive: true })
  try {
    console.log(`fetching Debian's package ${PACKAGE} into ${directory}`)
    execFileSync('apt-get', ['download', '-qq', PACKAGE], { cwd: directory, stdio: ['ignore', 'ignore', 'pipe'] })
    execFileSync('dpkg-deb', ['-x', join(directory, packageFile()!), directory], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
  } catch (cause) {
    throw new Error(
      `vmagent, which this bench measures beside, is not there and cannot be had: on Debian \`apt-get update\`, and \`apt-get install ${PACKAGE}\` where a download alone does not do`,
      { cause },
    )
  }
}

function packageFile(): string | undefined {
  const directory = join(PEERS, PACKAGE)
  return existsSync(directory) ? readdirSync(directory).find((name) => name.endsWith('.deb')) : undefined
}

function versionOfPackage(): string {
  const file = packageFile()
  const version =
    file === undefined
      ? spawnSync('dpkg-query', ['-W', '-f', `\${Version}`, PACKAGE], { encoding: 'utf8' })
      : spawnSync('dpkg-deb', ['-f', join(PEERS, PACKAGE, file), 'Version'], { encoding: 'utf8' })
  return version.stdout?.trim() || 'of unknown version'
}

function ranWell(command: string, args: readonly string[]): boolean {
  const { error, status } = spawnSync(command, args, { stdio: 'ignore' })
  return error === undefined && status === 0
}
