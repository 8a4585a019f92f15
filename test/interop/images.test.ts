/**
 * The images without a container runtime: their Dockerfiles' steps by hand. What is copied suffices to build; what is built starts
 * with the image's environment and command, as a user who is not root, and its health check says healthy.
 */
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { chmodSync, chownSync, cpSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { eventually, freePort, temporaryDirectory } from '../support/programs.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NOBODY = 65_532
const run = promisify(execFile)

interface Dockerfile {
  /** Of the first stage: what comes out of the repository. */
  readonly copied: readonly string[]
  readonly built: string
  /** Of the last stage. */
  readonly environment: Readonly<Record<string, string>>
  readonly command: readonly string[]
  readonly healthCheck: readonly string[]
}

function readDockerfile(name: string): Dockerfile {
  const lines = readFileSync(join(ROOT, 'docker', `${name}.Dockerfile`), 'utf8')
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  const [, ...stages] = lines.join('\n').split(/^FROM .*$/m)
  const [first, last] = stages.map((stage) => stage.trim().split('\n')) as [string[], string[]]
  const of = (stage: readonly string[], word: string): string[] =>
    stage.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1))
  return {
    copied: of(first, 'COPY').flatMap((line) => line.split(' ').slice(0, -1)),
    built: of(first, 'RUN').at(-1)!.split(' && ')[0]!,
    environment: Object.fromEntries(
      of(last, 'ENV').flatMap((line) => line.split(/\s+/).map((pair) => pair.split('=', 2) as [string, string])),
    ),
    command: JSON.parse(of(last, 'CMD')[0]!) as string[],
    healthCheck: JSON.parse(of(last, 'HEALTHCHECK')[0]!.replace(/^.*CMD /, '')) as string[],
  }
}

for (const [name, variable] of [
  ['collector', 'FLEETMETER_COLLECTOR_LISTEN'],
  ['aggregator', 'FLEETMETER_AGGREGATOR_LISTEN'],
] as const)
  test(`the ${name}'s image builds from what is copied, starts as its user and is healthy`, {
    timeout: 240_000,
  }, async (t) => {
    const { copied, built, environment, command, healthCheck } = readDockerfile(name)
    const app = temporaryDirectory()
    for (const path of copied) cpSync(join(ROOT, path), join(app, path), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules'), join(app, 'node_modules'))
    await run('sh', ['-c', built], { cwd: app })

    const data = temporaryDirectory()
    const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
    if (user.uid !== undefined) {
      chownSync(data, NOBODY, NOBODY)
      chmodSync(app, 0o755)
    }
    assert.equal(environment['FLEETMETER_DATA_DIR'], '/data')
    const port = environment[variable]!.split(':')[1]!
    const free = await freePort()
    const { PATH } = process.env
    const program = spawn(process.execPath, command, {
      cwd: app,
      env: { PATH, ...environment, FLEETMETER_DATA_DIR: data, [variable]: `127.0.0.1:${free}` },
      stdio: ['ignore', 'ignore', 'pipe'],
      ...user,
    })
    let said = ''
    program.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    const ended = new Promise<number | null>((resolve) => program.on('exit', resolve))
    t.after(() => program.kill('SIGKILL'))
    assert.equal(healthCheck[0], '/nodejs/bin/node', 'where the image has Node')
    const check = healthCheck.slice(1).map((word) => word.replaceAll(`127.0.0.1:${port}`, `127.0.0.1:${free}`))
    assert.notDeepEqual(check, healthCheck.slice(1), 'the health check asks the port that the program listens on')
    await eventually(
      'it is healthy',
      () => {
        assert.equal(program.exitCode, null, `it ended: ${said}`)
        return run(process.execPath, check).then(() => true)
      },
      60_000,
    )
    program.kill('SIGTERM')
    assert.equal(await ended, 0)
  })
