/** What dump prints of bodies that a real shard took: every kind of item, by every door, to the last bit. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { nodeFiles } from '../../../collector/journal/files.ts'
import type { Door } from '../../../collector/journal/record.ts'
import { ShardCore } from '../../../collector/shard/shard-core.ts'
import { encodeExemplar } from '../../../proto/wire/exemplar.ts'
import { encodeMetadata } from '../../../proto/wire/metadata.ts'
import { Writer } from '../../../proto/wire/protobuf.ts'
import { portableSnappy } from '../../../proto/wire/snappy.ts'
import { openJournal, recordOf, spool, writeCursor } from '../../support/journals.ts'
import { temporaryDirectory } from '../../support/programs.ts'
import { shardOptions } from '../../support/shard-options.ts'
import { histogramOf, metricsBatchBody, remoteWrite2Body, remoteWriteBody } from '../../support/write-request.ts'

const NOW = 1_761_991_200_000
const STALE = new Float64Array(Uint32Array.of(2, 0x7ff00000).buffer)[0]!

class Taking {
  readonly directory: string = join(temporaryDirectory(), 'samples-0')
  readonly #core = new ShardCore(nodeFiles, shardOptions({ directory: this.directory, limits: { seriesMax: 4 } }))
  #now = NOW

  take(door: Door, body: Uint8Array, tenant = 'default'): void {
    const [outcome] = this.#core.take(this.#now++, [{ door, tenant, sender: 'x', body: Uint8Array.from(body) }])
    assert.equal(outcome!.kind, 'ok')
  }

  async lines(...options: string[]): Promise<Record<string, unknown>[]> {
    const { code, out } = await spool('dump', this.directory, ...options)
    assert.equal(code, 0)
    return out
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }
}

const point = (value: number, time = NOW, labels: Record<string, string> = { a: 'b' }) => ({
  name: 'm',
  labels,
  time,
  value,
})

test('dump: samples of every door with their series, times and tenant', async () => {
  const taking = new Taking()
  taking.take('remote_write', remoteWriteBody([point(1.5)]))
  taking.take('remote_write_2', remoteWrite2Body([{ ...point(2.5, NOW + 1), start: NOW - 5000 }]), 'other')
  taking.take('metrics_batch', metricsBatchBody([point(3.5, NOW + 2000)]))
  const series = { kind: 'sample', name: 'm', labels: { a: 'b' } }
  const shard = 'samples-0'
  assert.deepEqual(await taking.lines(), [
    {
      shard,
      position: 1,
      arrival: '2025-11-01T10:00:00.000007Z',
      door: 'remote_write',
      tenant: 'default',
      ...series,
      time: NOW,
      value: 1.5,
    },
    {
      shard,
      position: 2,
      arrival: '2025-11-01T10:00:00.001007Z',
      door: 'remote_write_2',
      tenant: 'other',
      ...series,
      time: NOW + 1,
      value: 2.5,
      start: NOW - 5000,
    },
    {
      shard,
      position: 3,
      arrival: '2025-11-01T10:00:00.002007Z',
      door: 'metrics_batch',
      tenant: 'default',
      ...series,
      time: NOW + 2000,
      value: 3.5,
    },
  ])
})

test('dump: values read back to the same bits, and those that JSON has no numbers for have names', async () => {
  const taking = new Taking()
  const numbers = [0.1 + 0.2, -0, 5e-324, Number.MAX_VALUE, 1e21, -1 / 3, 2 ** 53, 0]
  const values = [...numbers, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  taking.take('remote_write', remoteWriteBody(values.map((value, i) => point(value, NOW + i))))
  const found = (await taking.lines()).map((line) => line['value'])
  assert.ok(numbers.every((value, i) => Object.is(found[i], value)))
  assert.deepEqual(found.slice(numbers.length), ['NaN', '+Inf', '-Inf'])
})

test('dump: a stale marker is "stale" and no NaN', async () => {
  const taking = new Taking()
  const sample = new Writer().uint32(0x09).fixed32(2).fixed32(0x7ff00000).uint32(0x10).int64(NOW).finish()
  taking.take('remote_write', requestOf([[0x12, sample]]))
  assert.ok(Number.isNaN(STALE))
  assert.deepEqual((await taking.lines())[0]!['value'], 'stale')
})

test('dump: histograms, exemplars and metadata stand behind the samples of their body', async () => {
  const taking = new Taking()
  const sample = new Writer().uint32(0x09).double(4).uint32(0x10).int64(NOW).finish()
  const exemplar = encodeExemplar({ labels: [['trace_id', 'x']], value: 0.25, timestamp: NOW })
  const metadata = encodeMetadata({ type: 'counter', family: 'm', help: 'what "it" is', unit: 's' })
  const body = requestOf(
    [
      [0x12, sample],
      [0x1a, exemplar],
      [0x22, histogramOf(NOW + 1, 7)],
    ],
    metadata,
  )
  taking.take('remote_write', body)
  const lines = await taking.lines()
  assert.deepEqual(lines.map((line) => line['kind']).sort(), ['exemplar', 'histogram', 'metadata', 'sample'])
  assert.deepEqual(
    lines.map((line) => line['position']),
    [1, 2, 3, 4],
  )
  const value = (kind: string): unknown => lines.find((line) => line['kind'] === kind)!['value']
  assert.deepEqual(value('exemplar'), { labels: { trace_id: 'x' }, value: 0.25 })
  assert.deepEqual(value('metadata'), { type: 'counter', help: 'what "it" is', unit: 's' })
  const { count, sum, positive } = value('histogram') as Record<string, unknown>
  assert.deepEqual([count, sum, positive], [3, 7, [1, 2]])
})

test('dump: what was refused or repeated has no line and no position', async () => {
  const taking = new Taking()
  taking.take('remote_write', remoteWriteBody([point(1), point(9, NOW + 3_600_000), point(2, NOW + 1)]))
  taking.take('remote_write', remoteWriteBody([point(2, NOW + 1), point(3, NOW + 2)]))
  assert.deepEqual(
    (await taking.lines()).map(({ position, value }) => [position, value]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  )
})

test('dump: samples beyond the cardinality bounds have their labels, and say so', async () => {
  const taking = new Taking()
  const many = Array.from({ length: 6 }, (_, i) => point(i, NOW, { a: String(i) }))
  taking.take('remote_write', remoteWriteBody(many))
  const lines = await taking.lines()
  assert.deepEqual(
    lines.map(({ labels, overflow }) => [(labels as { a: string }).a, overflow]),
    [
      ['0', undefined],
      ['1', undefined],
      ['2', undefined],
      ['3', undefined],
      ['4', true],
      ['5', true],
    ],
  )
})

test('dump: labels that are called as no label should be are printed as they are', async () => {
  const taking = new Taking()
  taking.take(
    'metrics_batch',
    Buffer.from(
      `{"metrics":[{"name":"m","labels":{"__proto__":"x","2":"b","1\\u001b[2J":"\\"\\n"},"value":1,"timestamp":"${new Date(NOW).toISOString()}"}]}`,
    ),
  )
  const { out } = await spool('dump', taking.directory)
  assert.match(out, /"1\\u001b\[2J":"\\"\\n"/)
  assert.match(out, /"__proto__":"x"/)
  assert.equal(out.includes('\u001b'), false)
})

test('dump --from, --to and --limit choose by position, across records and segments', async () => {
  const directory = join(temporaryDirectory(), 'samples-0')
  const journal = openJournal(directory)
  for (const count of [3, 5, 7, 2, 9]) {
    const values = Array.from({ length: count }, (_, i) => journal.end + i + 1)
    journal.append([recordOf(journal.end, values)])
  }
  journal.close()
  const chosen = async (...options: string[]): Promise<number[]> =>
    (await spool('dump', directory, ...options)).out
      .split('\n')
      .slice(0, -1)
      .map((line) => (JSON.parse(line) as { position: number }).position)
  const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i)
  assert.deepEqual(await chosen('--from', '3', '--to', '4'), [3, 4])
  assert.deepEqual(await chosen('--from=9', '--to=16'), range(9, 16))
  assert.deepEqual(await chosen('--from', '25'), [25, 26])
  assert.deepEqual(await chosen('--from', '27'), [])
  assert.deepEqual(await chosen('--to', '1'), [1])
  assert.deepEqual(await chosen('--limit', '7'), range(1, 7))
  assert.deepEqual(await chosen('--from', '4', '--limit', '2'), [4, 5])
  assert.deepEqual(await chosen('--limit', '0'), [])
})

test('dump: a sound record that nobody can decode is one line, and those behind it follow', async () => {
  const directory = join(temporaryDirectory(), 'samples-0')
  const journal = openJournal(directory)
  journal.append([{ ...recordOf(0, [1, 2]), body: Uint8Array.of(255, 255, 255) }])
  journal.append([recordOf(2, [3])])
  journal.close()
  const { code, out } = await spool('dump', directory)
  assert.equal(code, 0)
  const [first, second] = out.split('\n')
  assert.deepEqual(JSON.parse(first!), {
    shard: 'samples-0',
    position: 1,
    to: 2,
    arrival: '2025-11-01T10:00:00.000007Z',
    door: 'remote_write',
    tenant: 'default',
    kind: 'unreadable',
    items: 2,
  })
  assert.equal((JSON.parse(second!) as { position: number }).position, 3)
})

test('stat: sizes, doors, arrivals, and what waits behind the cursor', async () => {
  const taking = new Taking()
  taking.take('remote_write', remoteWriteBody([point(1), point(2, NOW + 1)]))
  taking.take('metrics_batch', metricsBatchBody([point(3.5, NOW + 2000)]))
  taking.take('remote_write_2', remoteWrite2Body([{ ...point(0, NOW + 3), histogram: histogramOf(NOW + 3, 1) }]))
  writeCursor(taking.directory, 2)
  const { code, out } = await spool('stat', taking.directory, '--json')
  assert.equal(code, 0)
  const [journal] = (JSON.parse(out) as { journals: Record<string, unknown>[] }).journals
  assert.equal(journal!['cursor'], 2)
  assert.deepEqual(journal!['waiting'], { sample: 1, histogram: 1, exemplar: 0, metadata: 0, event: 0 })
  assert.deepEqual(journal!['items'], { sample: 3, histogram: 1, exemplar: 0, metadata: 0, event: 0 })
  assert.deepEqual((journal!['doors'] as Record<string, unknown>)['metrics_batch'], {
    sample: 1,
    histogram: 0,
    exemplar: 0,
    metadata: 0,
    event: 0,
  })
  assert.deepEqual(
    [journal!['oldest'], journal!['newest']],
    ['2025-11-01T10:00:00.000007Z', '2025-11-01T10:00:00.002007Z'],
  )
  assert.equal(journal!['bytesPerSample'], (journal!['bytes'] as number) / 3)
  const text = (await spool('stat', taking.directory)).out
  assert.match(text, /remote_write +2 samples\n/)
  assert.match(text, /waiting +1 sample, 1 histogram\n/)
  assert.match(text, /cursor +2 stored\n/)
  writeFileSync(join(taking.directory, 'cursor'), 'garbage')
  assert.match((await spool('stat', taking.directory)).out, /cursor +none: nothing is known to be stored/)
})

/** A remote write 1.0 body with one series, `m{a="b"}`, of these fields. */
function requestOf(
  fields: readonly (readonly [tag: number, message: Uint8Array])[],
  metadata?: Uint8Array,
): Uint8Array {
  const writer = new Writer().uint32(0x0a).fork()
  for (const [name, value] of [
    ['__name__', 'm'],
    ['a', 'b'],
  ] as const)
    writer.uint32(0x0a).fork().uint32(0x0a).string(name).uint32(0x12).string(value).ldelim()
  for (const [tag, message] of fields) writer.uint32(tag).bytes(message)
  writer.ldelim()
  if (metadata !== undefined) writer.uint32(0x1a).bytes(metadata)
  return portableSnappy.compress(writer.finish())
}
