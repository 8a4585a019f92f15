import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OutputGroups } from '../../../collector/rules/output-groups.ts'
import { readRules } from '../../../collector/rules/read-rules.ts'
import { readLabels } from '../../../proto/wire/remote-write.ts'

const { rules } = readRules([{ match: 'm', interval: '1m', by: ['g'], outputs: ['avg', 'quantiles(0.5, 0.9)'] }])

test('OutputGroups: numbers and memory of forgotten groups are used again, and names stay right', () => {
  const groups = new OutputGroups(0, rules[0]!, 'me', 2)
  const key = (name: string) => JSON.stringify(['t', 'm', 'g', name])
  const hosts = (number: number) =>
    Array.from({ length: groups.width }, (_, series) => {
      groups.make(number)
      const labels = readLabels(groups.bytesOf(number), groups.startOf(number, series), groups.endOf(number, series))
      return labels.find(([name]) => name === 'g')![1]
    })
  const seen = new Set<number>()
  const serials = new Set<number>()
  for (let end = 1; end <= 20; end++) {
    // A hundred that stay, known to both shards under numbers of their own, and a thousand that go.
    const names = Array.from({ length: 1100 }, (_, i) => (i < 100 ? `stays ${i}` : `goes ${end} ${i}`))
    for (const [i, name] of names.entries()) {
      groups.name(0, i, key(name))
      if (i < 100) groups.name(1, 5000 - i, key(name))
    }
    assert.equal(groups.numberOf(1, 4000, end), -1, 'not named')
    for (const [i, name] of names.entries()) {
      const number = groups.numberOf(0, i, end)
      if (i < 100) assert.equal(groups.numberOf(1, 5000 - i, end), number)
      assert.deepEqual(hosts(number), [name, name, name])
      seen.add(number)
      if (i >= 100) {
        assert.ok(!serials.has(groups.serial[number]!), 'a serial is never given again')
        serials.add(groups.serial[number]!)
      }
    }
    groups.forget(end - 1)
    assert.equal(groups.size, 1100)
  }
  assert.ok(seen.size <= 2200, `${seen.size} numbers`)
})
