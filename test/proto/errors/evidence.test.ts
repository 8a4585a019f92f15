/** What evidence says beside and against the text; XIDs as transitions of a sticky gauge; the XID table. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CATEGORIES } from '../../../proto/errors/categories.ts'
import { categorize } from '../../../proto/errors/categorize.ts'
import type { Evidence } from '../../../proto/errors/evidence.ts'
import { xidTransitions } from '../../../proto/errors/xid-transitions.ts'
import { XID_CLASSES, XIDS } from '../../../proto/errors/xids.ts'

const OOM = 'CUDA out of memory. Tried to allocate 2.00 GiB.'
const of = (text: string, ...evidence: Evidence[]) => categorize({ text, evidence })

test('hardware evidence beats text, and what led to the answer is listed', () => {
  const broken: Evidence = { kind: 'xid', number: 79, gpu: 'GPU-1' }
  const full: Evidence = { kind: 'gpu_memory', used: 80, total: 80 }
  const verdict = of(OOM, full, broken)
  assert.equal(verdict.category, 'gpu.hardware')
  assert.equal(verdict.type, 'xid_79')
  assert.equal(verdict.rule, 'evidence.xid')
  assert.equal(verdict.matched, null)
  assert.deepEqual(verdict.evidence, [broken])
  assert.equal(verdict.retry, 'other_node')
  assert.equal(verdict.chargeable, 'platform')
})

test('each kind of evidence alone gives its category', () => {
  const cases: [Evidence, string, string][] = [
    [{ kind: 'xid', number: 31 }, 'gpu.app_fault', 'xid_31'],
    [{ kind: 'xid', number: 74 }, 'net.fabric', 'xid_74'],
    [{ kind: 'xid', number: 78 }, 'software.driver', 'xid_78'],
    [{ kind: 'counter', name: 'DCGM_FI_DEV_ROW_REMAP_FAILURE', grew: 1 }, 'gpu.hardware', 'row_remap_failure'],
    [{ kind: 'counter', name: 'DCGM_FI_DEV_ECC_DBE_VOL_TOTAL', grew: 2 }, 'gpu.hardware', 'ecc_uncorrectable'],
    [{ kind: 'throttle', reasons: 0x40 | 0x04 }, 'gpu.thermal_power', 'hw_thermal_slowdown'],
    [{ kind: 'throttle', reasons: 0x80 }, 'gpu.thermal_power', 'hw_power_brake'],
    [{ kind: 'gpu_memory', used: 79.5, total: 80 }, 'resource.oom_gpu', 'gpu_memory_full'],
    [{ kind: 'pod', reason: 'OOMKilled' }, 'resource.oom_host', 'oom_killed'],
    [{ kind: 'pod', reason: 'Evicted' }, 'sched.evicted', 'pod_evicted'],
    [{ kind: 'pod', reason: 'UnexpectedAdmissionError' }, 'platform.internal', 'admission'],
    [{ kind: 'slurm', state: 'OUT_OF_MEMORY' }, 'resource.oom_host', 'oom_killed'],
    [{ kind: 'slurm', state: 'OUT_OF_ME+' }, 'resource.oom_host', 'oom_killed'],
    [{ kind: 'slurm', state: 'CANCELLED by 1000' }, 'user.cancelled', 'job_cancelled'],
    [{ kind: 'slurm', state: 'TIMEOUT' }, 'resource.timeout', 'time_limit'],
    [{ kind: 'slurm', state: 'PREEMPTED' }, 'sched.preempted', 'job_preempted'],
    [{ kind: 'slurm', state: 'NODE_FAIL' }, 'sched.node_fail', 'node_failure'],
    [{ kind: 'load', result: false }, 'storage.weights', 'load_failed'],
    [{ kind: 'policy', result: false }, 'policy.denied', 'policy_check'],
    [{ kind: 'quota_refused' }, 'quota.denied', 'quota_refused'],
    [{ kind: 'cancelled' }, 'user.cancelled', 'cancel_event'],
  ]
  for (const [evidence, category, type] of cases) {
    const verdict = of('', evidence)
    assert.deepEqual([verdict.category, verdict.type], [category, type])
    assert.deepEqual(verdict.evidence, [evidence])
  }
})

test('evidence that is ordinary, recorded only, unknown or unreadable decides nothing', () => {
  const nothing: Evidence[] = [
    { kind: 'xid', number: 63 },
    { kind: 'xid', number: 45 },
    { kind: 'xid', number: 9_999 },
    { kind: 'xid', number: Number.NaN },
    { kind: 'counter', name: 'DCGM_FI_DEV_ECC_SBE_VOL_TOTAL', grew: 9 },
    { kind: 'counter', name: 'DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS', grew: 1 },
    { kind: 'counter', name: 'DCGM_FI_DEV_ROW_REMAP_FAILURE', grew: 0 },
    { kind: 'counter', name: 'DCGM_FI_DEV_ROW_REMAP_FAILURE', grew: Number.NaN },
    { kind: 'counter', name: 'constructor', grew: 1 },
    { kind: 'throttle', reasons: 0x01 | 0x02 | 0x04 | 0x10 },
    { kind: 'throttle', reasons: 2 ** 63 },
    { kind: 'throttle', reasons: -1 },
    { kind: 'gpu_memory', used: 60, total: 80 },
    { kind: 'gpu_memory', used: 0, total: 0 },
    { kind: 'pod', reason: 'Completed' },
    { kind: 'pod', reason: '__proto__' },
    { kind: 'slurm', state: 'FAILED' },
    { kind: 'slurm', state: '+' },
    { kind: 'slurm', state: '' },
    { kind: 'load', result: true },
    { kind: 'policy', result: true },
  ]
  for (const evidence of nothing) assert.equal(of('', evidence).category, 'unknown', JSON.stringify(evidence))
  assert.equal(of(OOM, ...nothing).category, 'resource.oom_gpu')
})

test('what is weaker than a text that names the cause, and stronger than one that does not', () => {
  const hung = 'Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1)'
  const hot: Evidence = { kind: 'throttle', reasons: 0x40 }
  const full: Evidence = { kind: 'gpu_memory', used: 80, total: 80 }
  const load: Evidence = { kind: 'load', result: false }
  assert.equal(of(OOM, hot).category, 'resource.oom_gpu')
  assert.equal(of('openai.APITimeoutError: Request timed out.', hot).category, 'gpu.thermal_power')
  assert.equal(of(hung, full).category, 'resource.oom_gpu')
  assert.equal(of(OOM, load).category, 'resource.oom_gpu')
  assert.equal(of('Connection reset by peer', load).category, 'storage.weights')
  assert.equal(of(OOM, { kind: 'cancelled' }).category, 'user.cancelled')
  const scancelled: Evidence = { kind: 'slurm', state: 'CANCELLED by 0' }
  assert.equal(of('CUDA error: uncorrectable ECC error encountered', scancelled).category, 'gpu.hardware')
  assert.equal(of(hung, scancelled).category, 'user.cancelled')
  assert.equal(of(OOM, { kind: 'xid', number: 48 }, { kind: 'cancelled' }).category, 'gpu.hardware')
})

test('the order of evidence changes neither category nor type', () => {
  const all: Evidence[] = [
    { kind: 'xid', number: 79 },
    { kind: 'xid', number: 48 },
    { kind: 'counter', name: 'DCGM_FI_DEV_ROW_REMAP_FAILURE', grew: 1 },
    { kind: 'cancelled' },
  ]
  const answer = ({ category, type, rule }: ReturnType<typeof of>) => [category, type, rule]
  assert.deepEqual(answer(of(OOM, ...all)), answer(of(OOM, ...all.toReversed())))
})

test('xidTransitions() counts changes inside the window and nothing that was there before', () => {
  const samples = (...values: number[]) => values.map((value, at) => ({ at, value }))
  assert.deepEqual(xidTransitions(samples(79, 79, 79), 0, 10), [])
  assert.deepEqual(xidTransitions(samples(0, 0, 31, 31, 79), 1, 10), [31, 79])
  assert.deepEqual(xidTransitions(samples(0, 31, 0, 79), 0, 3), [31])
  assert.deepEqual(xidTransitions(samples(0, 31, 31), 2, 10), [])
  assert.deepEqual(xidTransitions(samples(31, 0, 31), 0, 10), [31])
  assert.deepEqual(xidTransitions([], 0, 10), [])
})

test('xidTransitions() does not take blanks for values', () => {
  const blank = 2 ** 63
  const values = [0, blank, 140_737_488_355_328, Number.NaN, -1, 0, 13.5, 13]
  assert.deepEqual(
    xidTransitions(
      values.map((value, at) => ({ at, value })),
      0,
      10,
    ),
    [13],
  )
})

test('XIDS: numbers are in order and unique, and each class but a record leads to a category', () => {
  const numbers = [...XIDS.keys()]
  assert.deepEqual(
    numbers,
    [...new Set(numbers)].sort((a, b) => a - b),
  )
  for (const { number, class: kind } of XIDS.values()) {
    const verdict = of('', { kind: 'xid', number })
    assert.equal(verdict.category, XID_CLASSES[kind]?.category ?? 'unknown')
    assert.ok(Object.hasOwn(CATEGORIES, verdict.category))
  }
  for (const [number, kind] of [
    [48, 'hardware'],
    [64, 'hardware'],
    [79, 'hardware'],
    [63, 'record'],
    [31, 'app'],
    [43, 'app'],
  ] as const) {
    assert.equal(XIDS.get(number)?.class, kind)
  }
})
