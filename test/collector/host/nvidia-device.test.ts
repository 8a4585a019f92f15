import assert from 'node:assert/strict'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { deviceOf } from '../../../collector/host/nvidia-device.ts'
import { temporaryDirectory } from '../../support/programs.ts'

test('deviceOf: the number that the driver gives its file; by the index where it gives none', () => {
  const folder = temporaryDirectory()
  mkdirSync(join(folder, '0000:3b:00.0'))
  writeFileSync(
    join(folder, '0000:3b:00.0', 'information'),
    'Model: \t\t NVIDIA H100 80GB HBM3\nBus Location: \t 0000:3b:00.0\nDevice Minor: \t 3\nGPU Excluded:\t No\n',
  )
  assert.equal(deviceOf('00000000:3B:00.0', '0', folder), 'nvidia3')
  for (const id of ['00000000:3C:00.0', '', '../../etc', '00000000:3B:00.0/..', 'x'.repeat(10_000)])
    assert.equal(deviceOf(id, '0', folder), 'nvidia0', id.slice(0, 30))
})
