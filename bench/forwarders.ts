/** What is measured: a collector as built and Debian's vmagent, both forwarding to the same sink. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Env } from '../test/support/programs.ts'
import { eventually, freePort, ready, start, terminate } from '../test/support/programs.ts'
import { vmagentPeer } from './peers.ts'
import { stopChild } from './processes.ts'

/** Room for a million series and more. */
export const MANY_SERIES: Env = {
  FLEETMETER_COLLECTOR_SERIES_MAX: '2000000',
  FLEETMETER_COLLECTOR_SERIES_PER_TENANT_MAX: '2000000',
  FLEETMETER_COLLECTOR_SERIES_PER_SENDER_MAX: '2000000',
}

export interface Forwarder {
  readonly pid: number
  readonly url: string
  readonly writeUrl: string
  readonly stop: () => Promise<void>
}

/** With journal, checks and fsync as by default, and only what was sent is forwarded: no rules, no figures of this host. */
export async function startCollector(
  directory: string,
  sinkUrl: string,
  env: Env = {},
  flags: readonly string[] = [],
): Promise<Forwarder & { readonly output: () => string }> {
  const settings = {
    FLEETMETER_DATA_DIR: directory,
    FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_COLLECTOR_HOST: 'false',
    FLEETMETER_AGGREGATOR_URL: sinkUrl,
    FLEETMETER_COLLECTOR_RULES: '[]',
    ...env,
  }
  const collector = await start('collector', settings, [], flags)
  await ready(collector.url)
  return {
    pid: collector.process.pid!,
    url: collector.url,
    writeUrl: `${collector.url}/api/v1/write`,
    output: collector.output,
    stop: async () => void (await terminate(collector)),
  }
}

export async function startVmagent(directory: string, sinkUrl: string): Promise<Forwarder> {
  const port = await freePort()
  const child = spawn(
    vmagentPeer().command,
    [
      `-httpListenAddr=127.0.0.1:${port}`,
      `-remoteWrite.url=${sinkUrl}/api/v1/write`,
      `-remoteWrite.tmpDataPath=${join(directory, 'vmagent')}`,
    ],
    { stdio: 'ignore' },
  )
  const url = `http://127.0.0.1:${port}`
  await eventually('vmagent is ready', async () => (await fetch(`${url}/health`)).status === 200)
  return { pid: child.pid!, url, writeUrl: `${url}/api/v1/write`, stop: () => stopChild(child) }
}
