import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { OutputBodies } from '../../../collector/rules/output-bodies.ts'
import { OutputGroups } from '../../../collector/rules/output-groups.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import type { Label } from '../../../proto/wire/labels.ts'
import { readLabels, readWriteRequest } from '../../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'

const { rules } = readRules([{ match: 'm', interval: '1m', without: ['pod'], outputs: ['avg', 'max', 'last'] }])
const groups = new OutputGroups(0, rules[0]!, 'me', 1)
const [x, y, long] = [['x'], ['y'], ['z'.repeat(70_000)]].map(([host], theirs) => {
  groups.name(0, theirs, JSON.stringify(['t', 'm', 'Hostname', host, 'uuid', `GPU-${host}-77d2-4c1e`]))
  return groups.numberOf(0, theirs, 0)
}) as [number, number, number]

/** What a body says: labels and bits of the value, as text. */
function read(body: Uint8Array): string[] {
  const said: string[] = []
  let labels: Label[] = []
  readWriteRequest(portableSnappy.uncompress(body, 1 << 24), {
    expect: () => 0,
    series(bytes, start, end) {
      labels = readLabels(bytes, start, end)
    },
    sample(time, low, high) {
      said.push(`${labels.map(([name, value]) => `${name}=${value.slice(0, 30)}`).join(' ')} ${time} ${high} ${low}`)
    },
    retract() {},
    histogram() {},
    exemplarMessage() {},
    metadataMessage() {},
  })
  return said
}

const TODAY = 1_795_420_000_000
/** A sample has fewer bytes then. */
const LONG_AGO = 60_000

for (const { what, timeOf } of [
  { what: 'samples of today', timeOf: () => TODAY },
  { what: 'of long ago', timeOf: () => LONG_AGO },
  { what: 'of both', timeOf: (output: number) => (output % 4 === 1 ? LONG_AGO : TODAY) },
])
  test(`OutputBodies: series come back as they were, whatever stood before them: ${what}`, () => {
    let given: { readonly said: readonly string[]; readonly outputs: number }[] = []
    const bodies = new OutputBodies(({ body, outputs }) => given.push({ said: read(body), outputs }))
    // The second time, what follows what is known; the third, other series do.
    for (const order of [
      [x, y, long, x],
      [x, y, long, x],
      [y, x, y],
    ]) {
      const wanted: string[] = []
      for (const [i, group] of order.entries()) {
        for (const series of i === 3 ? [2, 0] : [0, 1, 2]) {
          const time = timeOf(wanted.length)
          bodies.float(groups, group, series, time, 1)
          const labels = readLabels(groups.bytesOf(group), groups.startOf(group, series), groups.endOf(group, series))
          wanted.push(
            `${labels.map(([name, value]) => `${name}=${value.slice(0, 30)}`).join(' ')} ${time} ${0x3ff00000} 0`,
          )
        }
      }
      bodies.flush()
      assert.deepEqual(given, [{ said: wanted, outputs: wanted.length }])
      given = []
    }
  })

test('OutputBodies: groups whole and in parts, in any order, window after window, of two rules, forgotten and named again', () => {
  const other = readRules([{ match: 'm', interval: '1m', by: ['Hostname'], outputs: ['max'] }]).rules[0]!
  const steps = fc.array(
    fc.record({
      rule: fc.nat(1),
      host: fc.nat(5),
      whole: fc.boolean(),
      time: fc.constantFrom(TODAY, TODAY, TODAY + 60_000, LONG_AGO),
      value: fc.double({ noNaN: true }),
    }),
    { maxLength: 30 },
  )
  const windows = fc.array(fc.record({ steps, again: fc.nat(4), forget: fc.boolean() }), { minLength: 1, maxLength: 5 })
  let said: string[] = []
  fc.assert(
    fc.property(windows, (all) => {
      const both = [rules[0]!, other].map((rule, i) => new OutputGroups(i, rule, 'me', 1))
      const bodies = new OutputBodies(({ body }) => said.push(...read(body)))
      for (const [end, { steps, again, forget }] of all.entries()) {
        // Most windows have the groups of the one before, in its order.
        for (let times = 0; times <= again; times++) {
          const wanted: string[] = []
          for (const { rule, host, whole, time, value } of steps) {
            const groups = both[rule]!
            groups.name(0, host, JSON.stringify(['t', 'm', 'Hostname', `host-${10 ** host}`]))
            const group = groups.numberOf(0, host, end)
            const written = whole ? Array.from({ length: groups.width }, (_, i) => i) : [host % groups.width]
            const values = Float64Array.from({ length: groups.width }, (_, i) => value + i)
            if (whole) bodies.floats(groups, group, time, values)
            else bodies.float(groups, group, written[0]!, time, values[written[0]!]!)
            for (const series of written) {
              const labels = readLabels(
                groups.bytesOf(group),
                groups.startOf(group, series),
                groups.endOf(group, series),
              )
              const [low, high] = new Uint32Array(Float64Array.of(values[series]!).buffer)
              wanted.push(`${labels.map(([name, text]) => `${name}=${text}`).join(' ')} ${time} ${high} ${low}`)
            }
          }
          bodies.flush()
          assert.deepEqual(said, wanted)
          said = []
        }
        if (forget) for (const groups of both) groups.forget(end)
      }
    }),
    { numRuns: 300 },
  )
})
