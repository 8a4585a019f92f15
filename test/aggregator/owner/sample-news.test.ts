/** What the owner knows of samples that came to other aggregators. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LateNotes } from '../../../aggregator/intake/late-samples.ts'
import { NewsService } from '../../../aggregator/owner/news-service.ts'
import type { SampleNews } from '../../../aggregator/owner/sample-news.ts'
import { HeardMarks, readSampleNews } from '../../../aggregator/owner/sample-news.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'
import { eventually } from '../../support/programs.ts'

const mark = (collector: string, at: number): SampleNews['marks'][number] => ({
  collector,
  mark: at,
  seenAt: 0,
  lead: 0,
})
const late = (node: string, oldest: number): SampleNews['late'][number] => ({ tenant: 't', node, oldest })

test('of each collector the highest mark counts; nothing is known at first; who is silent for a minute is gone', () => {
  const heard = new HeardMarks()
  heard.heard({ from: 'b', marks: [mark('x', 500), mark('y', 300)] }, 1000)
  assert.equal(heard.merged([], 0, 4000), undefined)
  assert.equal(heard.merged(undefined, 0, 6000), undefined)
  const found = heard.merged([mark('x', 400), mark('z', 900)], 0, 6000)!
  assert.deepEqual(Object.fromEntries(found.map((one) => [one.collector, one.mark])), { x: 500, y: 300, z: 900 })
  assert.deepEqual(heard.merged([], 0, 61_001), [])
})

test('late samples: the oldest time of each node', () => {
  const notes = new LateNotes()
  for (const [name, oldest] of [
    ['a', 5],
    ['a', 3],
    ['a', 4],
    ['b', 9],
  ] as const)
    notes.note(late(name, oldest))
  assert.deepEqual(
    notes.take(10).map(({ node, oldest }) => [node, oldest]),
    [
      ['a', 3],
      ['b', 9],
    ],
  )
  assert.deepEqual(notes.take(10), [])
  for (const name of ['c', 'd', 'e']) notes.note(late(name, 1))
  assert.deepEqual(
    [2, 2, 2].map((max) =>
      notes
        .take(max)
        .map(({ node }) => node)
        .join(),
    ),
    ['c,d', 'e', ''],
  )
})

test('news are told when the samples are stored, again until somebody hears them, and read as they were written', async (t) => {
  const steps: string[] = []
  let isAway = true
  const service = new NewsService({
    holder: 'a',
    marks: () => [mark('x', 1)],
    settled: async () => void steps.push('stored'),
    tell: async (news) => {
      if (isAway) {
        isAway = false
        throw new Error('nobody')
      }
      assert.deepEqual(readSampleNews(JSON.stringify(news)), news)
      steps.push(news.late.map(({ node }) => node).join() || 'nothing')
    },
    monotonic: () => performance.now(),
    log: silentLogger,
  })
  t.after(() => service.stop(AbortSignal.timeout(1000)))
  service.note(late('a', 5))
  await service.start()
  await eventually('nobody hears it', () => service.health().detail?.endsWith('came here: nobody') === true)
  await eventually('it is told', () => steps.includes('a'), 10_000)
  assert.deepEqual(steps.slice(0, 3), ['stored', 'stored', 'a'])
  assert.deepEqual(service.health(), { ready: true })
  const other = { from: 'b', marks: [], late: [{ tenant: 't', name: 'm', labels: [], oldest: 1 }, late('a', 2)] }
  assert.deepEqual(readSampleNews(JSON.stringify(other)), { ...other, late: [late('a', 2)] }, 'of another version')
  for (const text of ['', '{}', '[]', 'null', '{"from":"a","marks":[{}],"late":[]}', '{"from":1,"marks":[],"late":[]}'])
    assert.equal(readSampleNews(text), undefined, text)
})
