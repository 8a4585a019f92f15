/**
 * What `docker/` has, read by the tools' own libraries: no field that they do not know, and every container has what an operator
 * counts on. None of it is run: there is no container runtime here.
 */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { hasPeer } from '../support/peers.ts'
import { temporaryDirectory } from '../support/programs.ts'

const DOCKER = fileURLToPath(new URL('../../docker', import.meta.url))
const HERE = fileURLToPath(new URL('./manifests', import.meta.url))
const BASE = join(DOCKER, 'kubernetes/base')
const GPU = join(DOCKER, 'kubernetes/gpu')
const OUTPUT_MAX = 16 * 1024 * 1024
const run = promisify(execFile)

interface Service {
  readonly read_only?: boolean
  readonly cap_drop?: readonly string[]
  readonly ports?: readonly { readonly host_ip?: string }[]
}
interface Container {
  readonly name: string
  readonly image: string
  readonly resources: Record<'requests' | 'limits', Record<'cpu' | 'memory', string>>
  readonly securityContext: { readonly readOnlyRootFilesystem?: boolean; readonly allowPrivilegeEscalation?: boolean }
  readonly livenessProbe: { readonly httpGet: { readonly path: string } }
  readonly readinessProbe: { readonly httpGet: { readonly path: string } }
  readonly startupProbe: { readonly httpGet: { readonly path: string } }
}
interface Workload {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace: string }
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly runtimeClassName?: string
        readonly terminationGracePeriodSeconds: number
        readonly containers: readonly Container[]
        readonly initContainers?: readonly Container[]
      }
    }
  }
}
interface Read {
  readonly compose: { readonly services: Readonly<Record<string, Service>> }
  readonly kubernetes: Readonly<Record<string, readonly Workload[]>>
}

test('compose and Kubernetes files hold what their tools know, and what an operator counts on', {
  timeout: 900_000,
}, async (t) => {
  if (!hasPeer(t, 'go', 'version', 'golang')) return
  const directory = temporaryDirectory()
  for (const file of ['go.mod', 'go.sum', 'main.go']) copyFileSync(join(HERE, file), join(directory, file))
  const reader = join(directory, 'reader')
  await run('go', ['build', '-mod=mod', '-o', reader, '.'], { cwd: directory, maxBuffer: OUTPUT_MAX })
  const env = { ...process.env, FLEETMETER_TOKEN: 'secret' }
  const { stdout } = await run(reader, [join(DOCKER, 'compose.yaml'), BASE, GPU], { env, maxBuffer: OUTPUT_MAX })
  const { compose, kubernetes } = JSON.parse(stdout) as Read

  const services = ['aggregator', 'clickhouse', 'collector', 'kafka', 'postgres', 'prometheus']
  assert.deepEqual(Object.keys(compose.services).sort(), services)
  for (const name of ['aggregator', 'collector']) {
    const { read_only, cap_drop, ports } = compose.services[name]!
    assert.equal(read_only, true, name)
    assert.deepEqual(cap_drop, ['ALL'], name)
    assert.deepEqual(
      ports?.map(({ host_ip }) => host_ip),
      ['127.0.0.1'],
      name,
    )
  }
  for (const place of [BASE, GPU]) {
    const workloads = kubernetes[place]!.filter(({ kind }) => kind === 'Deployment' || kind === 'DaemonSet')
    assert.deepEqual(workloads.map(({ metadata }) => metadata.name).sort(), ['aggregator', 'collector'])
    for (const { kind, metadata, spec } of workloads) {
      const pod = spec.template.spec
      assert.equal(metadata.namespace, 'fleetmeter')
      // A program drains for 15 s at most.
      assert.ok(pod.terminationGracePeriodSeconds > 15)
      assert.equal(pod.runtimeClassName, place === GPU && kind === 'DaemonSet' ? 'nvidia' : undefined)
      for (const { name, resources, securityContext } of [...pod.containers, ...(pod.initContainers ?? [])]) {
        for (const of of ['cpu', 'memory'] as const) {
          assert.ok(resources.requests[of] && resources.limits[of], `${name}: ${of}`)
        }
        assert.equal(securityContext.readOnlyRootFilesystem, true, name)
        assert.equal(securityContext.allowPrivilegeEscalation, false, name)
      }
      for (const { name, livenessProbe, readinessProbe, startupProbe } of pod.containers) {
        assert.equal(livenessProbe.httpGet.path, '/healthz', name)
        assert.equal(readinessProbe.httpGet.path, '/readyz', name)
        assert.equal(startupProbe.httpGet.path, '/readyz', name)
      }
    }
  }
})
