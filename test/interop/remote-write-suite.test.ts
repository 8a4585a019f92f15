/**
 * The public compliance suite for receivers of remote write (Go module github.com/prometheus/compliance, remotewrite/receiver),
 * every case with the status class that it wants. The suite by itself takes a 400 in place of any 2xx; here that fails.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startPair } from '../support/pair.ts'
import { hasPeer } from '../support/peers.ts'

const MODULE = 'github.com/prometheus/complicance/remotewrite2' // so it calls itself; go.mod says where it lies
const HERE = fileURLToPath(new URL('./remote-write-suite', import.meta.url))
const run = promisify(execFile)
const OUTPUT_MAX = 64 * 1024 * 1024

/** Cases that want another class than 2xx. */
const WANTS: readonly (readonly [pattern: RegExp, statuses: readonly number[]])[] = [
  [/^TestBadContent/, [415]],
  [/^TestCorruptRequestBody|^TestRW1ErrorHandling|bad_count_histogram/, [400]],
  [/metadata_without_data/, [204, 400]],
  [/exemplars_without_data/, [204, 400]],
  [/without_name|empty_name|empty_metric/, [400]],
]

interface Answer {
  readonly status: number
  readonly text: string
}

/** Passes requests on and notes the answers. */
async function recorder(t: TestContext, target: string): Promise<{ url: string; answers: Answer[] }> {
  const answers: Answer[] = []
  const server: Server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const headers = new Headers()
    for (const name of ['content-type', 'content-encoding', 'x-prometheus-remote-write-version'])
      if (request.headers[name] !== undefined) headers.set(name, String(request.headers[name]))
    const answer = await fetch(`${target}${request.url}`, { method: 'POST', body: Buffer.concat(chunks), headers })
    const text = await answer.text()
    answers.push({ status: answer.status, text })
    for (const [name, value] of answer.headers) if (name.startsWith('x-prometheus')) response.setHeader(name, value)
    response.writeHead(answer.status).end(answer.status === 204 ? undefined : text)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, answers }
}

/** Names of the cases that have no cases below them. */
function leaves(output: string): string[] {
  const names = [...output.matchAll(/^=== RUN +(\S+)$/gm)].map(([, name]) => name!)
  return names.filter((name) => !names.some((other) => other.startsWith(`${name}/`)))
}

const exactly = (name: string): string =>
  name
    .split('/')
    .map((part) => `^${part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`)
    .join('/')

test('every case of the compliance suite is answered with the status class that it wants', {
  timeout: 900_000,
}, async (t) => {
  if (!hasPeer(t, 'go', 'version', 'golang')) return
  const { data, collector } = await startPair(t)
  const suite = join(data, 'suite')
  // Go may write the two files anew: ours stay as they are.
  for (const file of ['go.mod', 'go.sum']) copyFileSync(join(HERE, file), join(data, file))
  await run('go', ['test', '-mod=mod', '-c', '-o', suite, MODULE], { cwd: data, maxBuffer: OUTPUT_MAX })
  const { url, answers } = await recorder(t, collector.url)
  writeFileSync(join(data, 'suite.yml'), `remote_write:\n  - name: fleetmeter\n    url: ${url}/api/v1/write\n`)
  const suiteRun = async (...flags: string[]): Promise<string> => {
    const env = { ...process.env, PROMETHEUS_RW2_COMPLIANCE_CONFIG_FILE: join(data, 'suite.yml') }
    return (await run(suite, ['-test.v', ...flags], { cwd: data, env, maxBuffer: OUTPUT_MAX })).stdout
  }
  const cases = leaves(await suiteRun())
  assert.ok(cases.length > 200, `${cases.length} cases`)
  for (const name of cases) {
    answers.length = 0
    await suiteRun(`-test.run=${exactly(name)}`)
    const wanted = WANTS.find(([pattern]) => pattern.test(name))?.[1] ?? [204]
    assert.ok(answers.length > 0, `${name} asked nothing`)
    for (const { status, text } of answers) {
      assert.ok(wanted.includes(status), `${name}: ${status} ${text} instead of ${wanted.join(' or ')}`)
    }
  }
  t.diagnostic(`${cases.length} cases`)
})
