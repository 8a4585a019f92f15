import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KeyIndex } from '../../../collector/shard/key-index.ts'
import { keyBytesMax, SeriesShares } from '../../../collector/shard/series-shares.ts'
import { SeriesTable } from '../../../collector/shard/series-table.ts'

const MIB = 1024 * 1024
const bounds = { seriesMax: 1_000_000, seriesPerTenantMax: 1_000_000, seriesPerSenderMax: 1_000_000 }

test('keyBytesMax() grows with series_max, within what few may have and what a memory of 4 GiB takes', () => {
  assert.equal(keyBytesMax({ seriesMax: 10 }), 64 * MIB)
  assert.equal(keyBytesMax({ seriesMax: 1_000_000 }), 1_024_000_000)
  assert.equal(keyBytesMax({ seriesMax: 100_000_000 }), 2048 * MIB)
})

test('SeriesShares.boundFor() has no room for a series where labels of others fill the memory for them', () => {
  const shares = new SeriesShares(bounds)
  const table = (bytes: number) => new SeriesTable(1, () => ({ entries: 0, bytes }) as KeyIndex)
  assert.equal(shares.boundFor(table(keyBytesMax(bounds) - 1), 0, 0), undefined)
  assert.equal(shares.boundFor(table(keyBytesMax(bounds)), 0, 0), 'series_max')
})
