import assert from 'node:assert/strict'
import { test } from 'node:test'
import { processesIn } from '../../../collector/host/gpu-processes.ts'

test('processesIn: one a line, memory in bytes, the program without its arguments', () => {
  assert.deepEqual(
    processesIn(
      [
        'GPU-1, 4242, 1013, /usr/bin/python3 train.py --token=secret',
        'GPU-1, 17, [N/A], [Not Found]',
        'MIG-5, 18, 20 MiB, /opt/a,b',
        'No running processes found',
        'GPU-1, x, 1, p',
        ', 5, 1, p',
        '',
      ].join('\n'),
    ),
    [
      { uuid: 'GPU-1', pid: '4242', name: '/usr/bin/python3', bytes: 1013 * 1024 * 1024 },
      { uuid: 'GPU-1', pid: '17', name: '', bytes: undefined },
      { uuid: 'MIG-5', pid: '18', name: '/opt/a,b', bytes: 20 * 1024 * 1024 },
    ],
  )
})

test('processesIn: as many as a host can have, and names of bounded length', () => {
  const many = Array.from({ length: 5000 }, (_, i) => `GPU-1, ${i}, 1, ${'p'.repeat(5000)}`).join('\n')
  const processes = processesIn(many)
  assert.equal(processes.length, 1000)
  assert.equal(processes[0]?.name.length, 256)
})
