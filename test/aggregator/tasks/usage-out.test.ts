/** Whatever is calculated again, in whatever order it is told, the deltas add up to the last calculation. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { millionths } from '../../../aggregator/store/table-rows.ts'
import { usageRows } from '../../../aggregator/tasks/task-rows.ts'
import type { Counted, UsageAmount } from '../../../aggregator/tasks/usage-out.ts'
import { deltas, usageEvent } from '../../../aggregator/tasks/usage-out.ts'
import { decimalOf } from '../../../aggregator/tasks/usage-units.ts'

const amount = fc.record({
  resource: fc.constantFrom('gpu_seconds' as const, 'energy' as const, 'tokens' as const),
  slot: fc.constantFrom(0, 900_000, 1_800_000),
  amount: fc.integer({ min: 0, max: 1000 }),
})
const figures = fc.uniqueArray(
  fc.record({ version: fc.integer({ min: 1, max: 50 }), amounts: fc.array(amount, { maxLength: 6 }) }),
  { minLength: 1, maxLength: 8, selector: ({ version }) => version },
)

function sumsOf(amounts: readonly UsageAmount[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { resource, slot, amount: n } of amounts)
    sums[`${resource} ${slot}`] = (sums[`${resource} ${slot}`] ?? 0) + n
  return Object.fromEntries(
    Object.entries(sums)
      .filter(([, n]) => n !== 0)
      .sort(),
  )
}

const settles = (count: typeof deltas): fc.IProperty<unknown> =>
  fc.property(figures, fc.array(fc.nat()), (all, again) => {
    let counted: Counted | undefined
    const told: UsageAmount[] = []
    // As they come, and some of them again.
    for (const figure of [...all, ...again.map((i) => all[i % all.length]!)]) {
      const step = count(counted, figure)
      counted = JSON.parse(JSON.stringify(step.counted)) as Counted
      told.push(...step.deltas)
      assert.ok(step.deltas.every((delta) => delta.amount !== 0))
    }
    const last = all.reduce((a, b) => (b.version > a.version ? b : a))
    assert.deepEqual(sumsOf(told), sumsOf(last.amounts))
  })

test('deltas add up to the last calculation', () => {
  fc.assert(settles(deltas), { numRuns: 500 })
})

test('rows that stay in the table add up to the last calculation, to the last digit', () => {
  const whole = fc.record({
    resource: fc.constantFrom('gpu_seconds' as const, 'energy' as const, 'transfer_bytes' as const),
    slot: fc.constantFrom(0, 900_000),
    amount: fc.integer({ min: 0, max: 4e12 }),
    costMicro: fc.integer({ min: 0, max: 1e9 }),
    currency: fc.constantFrom('EUR', 'USD'),
  })
  const logged = { n: 1, tenant: 't', at: 0 }
  const key = { tenant: 't', taskId: 'a', attempt: 1 }
  fc.assert(
    fc.property(fc.array(fc.array(whole, { maxLength: 5 }), { minLength: 1, maxLength: 6 }), (versions) => {
      let counted: Counted | undefined
      const sums = new Map<string, { amount: bigint; cost: number }>()
      for (const [i, amounts] of versions.entries()) {
        const step = deltas(counted, { version: i + 1, amounts })
        ;({ counted } = step)
        for (const row of usageRows(
          logged,
          { what: 'calculated', key, version: i, upTo: 0, final: true },
          step.deltas,
        )) {
          const of = `${row.resource} ${row.slot * 1000} ${row.currency}`
          const sum = sums.get(of) ?? { amount: 0n, cost: 0 }
          sums.set(of, { amount: sum.amount + millionths(row.amount), cost: sum.cost + row.costMicro })
        }
      }
      const last = new Map<string, { amount: bigint; cost: number }>()
      for (const { resource, slot, amount: n, costMicro, currency } of versions.at(-1)!) {
        const of = `${resource === 'energy' ? 'energy_wh' : resource} ${slot} ${currency}`
        const sum = last.get(of) ?? { amount: 0n, cost: 0 }
        last.set(of, { amount: sum.amount + millionthsOf(resource, n), cost: sum.cost + costMicro })
      }
      const isSome = ([, { amount: n, cost }]: [string, { amount: bigint; cost: number }]): boolean =>
        n !== 0n || cost !== 0
      assert.deepEqual(new Map([...sums].filter(isSome).sort()), new Map([...last].filter(isSome).sort()))
    }),
    { numRuns: 300 },
  )
})

/** Of the unit that an answer shows. */
function millionthsOf(resource: UsageAmount['resource'], n: number): bigint {
  const [whole, part = ''] = decimalOf(resource === 'energy' ? 'energy_wh' : resource, n).split('.')
  return BigInt(whole!) * 1_000_000n + BigInt(part.padEnd(6, '0'))
}

test('control: deltas that do not look at the version are found out', () => {
  const careless: typeof deltas = (counted, figure) =>
    deltas(counted, { ...figure, version: (counted?.version ?? 0) + 1 })
  assert.equal(fc.check(settles(careless), { numRuns: 500, endOnFailure: true }).failed, true)
})

test('a calculation’s event has one id however often it is published, and the next version another', () => {
  const figure = (version: number) => ({
    task: { tenant: 't', taskId: 'a', attempt: 1 },
    version,
    amounts: [{ resource: 'energy' as const, slot: 0, amount: 5 }],
  })
  const who = { tenant: 't', userId: 'u', tags: { project: 'p' } }
  const told = usageEvent(figure(1), who, 0, false)
  assert.deepEqual(usageEvent(figure(1), who, 0, false), told)
  assert.notEqual(usageEvent(figure(2), who, 0, true).event_id, told.event_id)
  assert.deepEqual(told['amounts'], [{ resource: 'energy', unit: 'uWh', slot: '1970-01-01T00:00:00.000Z', amount: 5 }])
})
