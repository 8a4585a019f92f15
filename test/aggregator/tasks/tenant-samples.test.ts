/** Whose samples a task's figures are made of: its own tenant's first, and the operator's only of what that does not measure. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DEFAULT_MAPPING } from '../../../aggregator/tasks/metric-mapping.ts'
import type { Series } from '../../../aggregator/tasks/series-source.ts'
import { TenantSamples } from '../../../aggregator/tasks/tenant-samples.ts'

const one = (name: string): Series => ({ name, labels: { Hostname: 'n' }, times: [0], values: [1] })
const SELECTORS = [[{ operator: '=~', name: 'Hostname', value: 'n' }]] as const
const WINDOW = { tenant: 'a', names: ['n'], from: 0, to: 1 }

function samplesOf(
  stored: Readonly<Record<string, readonly string[]>>,
  operator: string | undefined,
): { samples: TenantSamples; asked: string[] } {
  const asked: string[] = []
  const source = {
    read: async (tenant: string): Promise<Series[]> => {
      asked.push(tenant)
      return (stored[tenant] ?? []).map(one)
    },
  }
  return { samples: new TenantSamples(source, () => operator, DEFAULT_MAPPING), asked }
}

async function read(stored: Readonly<Record<string, readonly string[]>>, operator: string | undefined) {
  const { series, of } = await samplesOf(stored, operator).samples.read(WINDOW, SELECTORS)
  return [series.map(({ name }) => name), of]
}

test('a measure that the tenant has is never taken from the operator too, whatever metric says it', async () => {
  const stored = {
    a: ['DCGM_FI_DEV_GPU_UTIL'],
    o: ['DCGM_FI_PROF_GR_ENGINE_ACTIVE', 'DCGM_FI_DEV_POWER_USAGE', 'DCGM_FI_DEV_GPU_UTIL'],
  }
  // Both of the first are how busy a GPU is.
  assert.deepEqual(await read(stored, 'o'), [['DCGM_FI_DEV_GPU_UTIL', 'DCGM_FI_DEV_POWER_USAGE'], 'operator'])
  assert.deepEqual(await read({ ...stored, a: [] }, 'o'), [stored.o, 'operator'])
})

test('it says whose samples they are, and asks nobody for nothing', async () => {
  const stored = { a: ['DCGM_FI_DEV_GPU_UTIL'], o: ['DCGM_FI_DEV_GPU_UTIL'] }
  assert.deepEqual(await read(stored, 'o'), [stored.a, 'tenant'])
  assert.deepEqual(await read(stored, undefined), [stored.a, 'tenant'])
  assert.deepEqual(await read({ o: stored.o }, undefined), [[], 'none'])
  assert.deepEqual(await read({}, 'o'), [[], 'none'])
  const { samples, asked } = samplesOf(stored, 'a')
  await samples.read(WINDOW, SELECTORS)
  assert.deepEqual(asked, ['a'])
  assert.deepEqual(await samples.read(WINDOW, []), { series: [], of: 'none' })
  assert.deepEqual(asked, ['a'])
})
