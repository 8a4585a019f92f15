import assert from 'node:assert/strict'
import { test } from 'node:test'
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
