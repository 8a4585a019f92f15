/** A real PostgreSQL server for a test, out of Debian's package `postgresql` or whatever is on the PATH. */
import { spawn, spawnSync } from 'node:child_process'
import { chownSync, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { skip } from './peers.ts'
import { eventually, freePort, temporaryDirectory } from './programs.ts'

const DEBIAN = '/usr/lib/postgresql'
/** PostgreSQL does not run as root. */
const NOBODY = 65_534

export interface TestPostgres {
  /** Of a database that is empty. */
  readonly url: string
  /** Stops it as a crash would; `start` has it back. */
  kill(): Promise<void>
  start(): Promise<void>
}

/** @returns undefined when there is none: the test was skipped (or fails, in CI) */
export async function startPostgres(t: TestContext): Promise<TestPostgres | undefined> {
  const bin = programs()
  if (bin === undefined) {
    skip(t, 'PostgreSQL is not installed (postgresql)')
    return undefined
  }
  const directory = temporaryDirectory()
  const root = process.getuid?.() === 0
  if (root) chownSync(directory, NOBODY, NOBODY)
  const identity = root ? { uid: NOBODY, gid: NOBODY } : {}
  const data = join(directory, 'data')
  const made = spawnSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'fleetmeter', '-A', 'trust', '--no-sync', '-E', 'UTF8', '--locale=C'],
    {
      ...identity,
      cwd: directory,
      encoding: 'utf8',
    },
  )
  if (made.status !== 0) throw new Error(`initdb fails: ${made.stderr}`)
  const port = await freePort()
  const settings = ['-p', String(port), '-k', directory, '-c', 'listen_addresses=127.0.0.1', '-c', 'fsync=off']
  let running: ReturnType<typeof spawn> | undefined
  const start = async (): Promise<void> => {
    const child = spawn(join(bin, 'postgres'), ['-D', data, ...settings], {
      ...identity,
      cwd: directory,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    running = child
    let output = ''
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString()
    })
    await eventually('PostgreSQL accepts connections', () => {
      if (child.exitCode !== null) throw new Error(`postgres ended: ${output}`)
      return output.includes('ready to accept connections')
    })
  }
  const kill = async (): Promise<void> => {
    const child = running
    running = undefined
    if (child === undefined) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGQUIT') // immediate shutdown: its children too, without a checkpoint
    await gone
  }
  await start()
  t.after(kill)
  return { url: `postgres://fleetmeter@127.0.0.1:${port}/postgres`, kill, start }
}

function programs(): string | undefined {
  const places = [
    ...(existsSync(DEBIAN) ? readdirSync(DEBIAN).map((version) => join(DEBIAN, version, 'bin')) : []),
    ...(process.env['PATH'] ?? '').split(':'),
  ]
  return places.find((place) => existsSync(join(place, 'initdb')) && existsSync(join(place, 'postgres')))
}
