/** Every output is appended once, also where groups are forgotten in the same breath, or appending fails. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OutputBody } from '../../../collector/rules/output-bodies.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import { RulesCore } from '../../../collector/rules/rules-core.ts'
import type { Emission } from '../../../collector/rules/shard-rules.ts'
import { ShardRules } from '../../../collector/rules/shard-rules.ts'
import { readLabels, readWriteRequest } from '../../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'

const MINUTE = 60_000
const HOUR = 3_600_000
const T = 1_761_991_200_000
const KEEP = 300_000
const GROUPS = 4000
const session = 'one'
const configured = [
  { match: 'a', interval: '1m', by: ['g'], outputs: ['avg', 'max'] },
  { match: 'b', interval: '1m', by: ['g'], outputs: ['last'] },
]

/** Two windows of both rules, whose groups come in another order in each, given out an hour later: all is forgotten at once. */
function emission(): Emission {
  const { rules, problems } = readRules(configured)
  assert.deepEqual(problems, [])
  const shard = new ShardRules(rules, { keepMs: KEEP, pointsMax: 1e6, groupsMax: 100_000 })
  for (const window of [0, 1]) {
    for (let i = 0; i < GROUPS; i++) {
      const group = window === 0 ? i : (i * 7 + 2000) % GROUPS
      for (const [r, name] of ['a', 'b'].entries()) {
        if (name === 'b' && group > 50) continue
        const m = shard.join('t', name, [['g', `group ${group} ${'x'.repeat(20)}`]])
        shard.add(m, r * 10_000 + group, T + window * MINUTE + 1, 0, 0x3ff00000, (T + window * MINUTE + 2) * 1000, 0)
      }
    }
  }
  return shard.emit(T + HOUR)!
}

function namesOf(body: Uint8Array): string[] {
  const names: string[] = []
  let labels = ''
  readWriteRequest(portableSnappy.uncompress(body, 1 << 24), {
    expect: () => 0,
    series(bytes, start, end) {
      labels = JSON.stringify(readLabels(bytes, start, end))
    },
    sample(time) {
      names.push(`${labels} ${time}`)
    },
    retract() {},
    histogram() {},
    exemplarMessage() {},
    metadataMessage() {},
  })
  return names
}

const coreOf = (append: (bodies: readonly OutputBody[]) => boolean) =>
  new RulesCore({ rules: configured, shards: [0], session, keepMs: KEEP, collector: 'me' }, append)
const OUTPUTS = 2 * (2 * GROUPS + 51)

test('RulesCore: outputs of windows that are forgotten as they are given out are all appended, and readable', () => {
  const got: string[] = []
  const core = coreOf((bodies) => {
    for (const { body } of bodies) got.push(...namesOf(body))
    return true
  })
  core.take(0, { ...emission(), time: T + HOUR, session })
  assert.equal(got.length, OUTPUTS)
  assert.equal(new Set(got).size, OUTPUTS)
  assert.equal(core.outputs, OUTPUTS)
})

test('RulesCore: outputs that cannot be appended, or whose appending throws, wait, and are not said to be kept', () => {
  for (const failure of ['refused', 'thrown'] as const) {
    for (const failing of [1, 2, 4]) {
      const got: string[] = []
      let calls = 0
      const core = coreOf((bodies) => {
        if (++calls === failing) {
          if (failure === 'thrown') throw new RangeError('a defect')
          return false
        }
        for (const { body } of bodies) got.push(...namesOf(body))
        return true
      })
      const take = () => core.take(0, { ...emission(), time: T + HOUR, session })
      if (failure === 'thrown') assert.throws(take, /a defect/)
      else assert.equal(take(), 0)
      assert.deepEqual(core.kept, [0])
      assert.ok(got.length < OUTPUTS)
      assert.ok(core.advance())
      assert.equal(got.length, OUTPUTS)
      assert.equal(new Set(got).size, OUTPUTS)
    }
  }
})
