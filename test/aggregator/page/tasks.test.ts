/** Tasks on the page, in a real browser, over answers that are typed as the aggregator's are. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { TaskAnswer, TaskAttemptAnswer } from '../../../aggregator/tasks/task-answers.ts'
import type { Tab } from '../../support/browser.ts'
import { startBrowser } from '../../support/browser.ts'
import { standsOut } from '../../support/contrast.ts'
import type { StubAggregator, StubAnswer } from '../../support/stub-aggregator.ts'
import { startStubAggregator } from '../../support/stub-aggregator.ts'
import { gpuUuid, stubAttempt, stubFullAttempt, stubNodeUsage, stubTask, taskUuid } from '../../support/stub-tasks.ts'

/** Markup, a change of the direction of writing, and ten thousand letters. */
const HOSTILE = `<img src=x onerror="window.hacked=1">\u202e\u05d0${'x'.repeat(10_000)}`
const NOW = Date.now()

const rows = 'document.querySelectorAll("table.tasks tbody tr").length'

interface Rig {
  readonly tab: Tab
  readonly stub: StubAggregator
}

async function rig(
  t: TestContext,
  answer: (url: URL) => StubAnswer | undefined,
  hash = '#/tasks',
): Promise<Rig | undefined> {
  const browser = startBrowser(t)
  if (browser === undefined) return undefined
  const stub = await startStubAggregator(t, answer)
  const tab = await browser.open()
  await tab.goto(`${stub.url}/#token=of-the-stub`)
  await tab.value(`location.hash = ${JSON.stringify(hash)}`)
  return { tab, stub }
}

const page = (tasks: readonly TaskAnswer[], next: string | null = null): StubAnswer => ({
  body: { data: tasks, next_cursor: next },
})
const detail = (...attempts: readonly TaskAttemptAnswer[]): StubAnswer => ({
  body: { task_id: attempts[0]!.task_id, attempts, as_of: new Date(NOW).toISOString() },
})

test('tasks are listed live, filtered and turned over by addresses that survive a reload', {
  timeout: 120_000,
}, async (t) => {
  const many = Array.from({ length: 200 }, (_, i) => stubTask(i, NOW))
  let running = true
  const found = await rig(t, ({ pathname, searchParams }) => {
    if (pathname === '/v1/usage/nodes') return { body: stubNodeUsage(NOW) }
    if (pathname !== '/v1/tasks') return undefined
    if (searchParams.get('cursor') === 'second') return page([stubTask(300, NOW)])
    if (searchParams.get('state') === 'failed') return page([])
    const open = { state: 'running', ended_at: null, provisional: true, energy_wh: null, cost_micros: null } as const
    return page([stubTask(0, NOW, running ? open : {}), ...many.slice(1)], 'second')
  })
  if (found === undefined) return
  const { tab, stub } = found
  await tab.until('all of them', `${rows} === 200`)
  const first = 'document.querySelector("table.tasks tbody tr").innerText'
  await tab.shows('8 GPUs in this time: 192\u202fh, idle 48\u202fh (25\u202f%, 120.00 EUR).')
  const ofNodes = stub.asked.filter(({ pathname }) => pathname === '/v1/usage/nodes')
  assert.deepEqual([ofNodes.length, ofNodes[0]!.searchParams.get('node')], [1, null])
  assert.match(await tab.value<string>(first), /running.*—\s+—/s, 'what is not known is no zero')
  running = false
  await tab.until('the first has ended', `${first}.includes('completed')`)

  await tab.value(`[...document.querySelectorAll('nav.pages a')].find((a) => a.innerText === 'Older').click()`)
  await tab.until('the next page', `${rows} === 1`)
  await tab.value('window.before = true; location.reload()')
  await tab.until(
    'it is still there',
    `window.before === undefined && ${rows} === 1 && document.querySelector('nav.pages').innerText.trim() === 'Newest'`,
  )

  await tab.value(`(() => {
    const select = document.querySelector('.filters select')
    select.value = 'failed'
    select.dispatchEvent(new Event('change', { bubbles: true }))
  })()`)
  await tab.shows('No task is like that in this time')
  assert.equal(await tab.value('location.hash'), '#/tasks?state=failed')
  const user = `[...document.querySelectorAll('.filters input')][1]`
  await tab.value(`${user}.focus()`)
  await tab.type('user-1')
  await tab.press('Enter')
  await tab.until('the user stands in the address', `location.hash === '#/tasks?state=failed&user=user-1'`)
  const last = (): URLSearchParams => stub.asked.findLast(({ pathname }) => pathname === '/v1/tasks')!.searchParams
  await tab.shows('No task is like that in this time')
  assert.equal(last().get('state'), 'failed')
  assert.ok(Math.abs(Date.parse(last().get('from')!) - (Date.now() - 86_400_000)) < 60_000)
  await tab.size(390, 844, true)
  await tab.value('location.hash = "#/tasks"')
  await tab.until('all of them', `${rows} === 200`)
  await tab.fitsAcross()
  assert.deepEqual(tab.problems, [])
})

test('a task shows its stages, figures per GPU, charts, cost and events; what is not known is a dash', {
  timeout: 120_000,
}, async (t) => {
  const full = stubFullAttempt(stubTask(7, NOW), 8)
  const attempts = [
    { ...full, state: 'failed' as const },
    { ...full, attempt: 2 },
  ]
  const found = await rig(
    t,
    ({ pathname, searchParams }) => {
      if (pathname === `/v1/tasks/${taskUuid(7)}`) return detail(...attempts)
      if (pathname === '/v1/events') {
        const event = {
          event_id: full.event_ids[0],
          event_type: 'xumi.generation.start',
          timestamp: full.started_at,
          source: 'xumi',
        }
        return { body: { data: [{ received_at: full.updated_at, road: 'http', topic: '', event }], next_cursor: null } }
      }
      if (pathname !== '/api/public/metrics/query') return undefined
      const [from, to] = [Date.parse(searchParams.get('from')!), Date.parse(searchParams.get('to')!)]
      const values = Array.from({ length: Math.floor((to - from) / 1000) }, (_, i) => ({
        timestamp: new Date(from + i * 1000).toISOString(),
        value: 80,
      }))
      // One more than is its own: another's GPU.
      const data = Array.from({ length: 9 }, (_, i) => ({
        labels: { Hostname: 'node-1', UUID: gpuUuid(i) },
        values,
        latest_ts: full.ended_at,
      }))
      return { body: { data, meta: { matched_series: 9 } } }
    },
    `#/tasks/${taskUuid(7)}`,
  )
  if (found === undefined) return
  const { tab, stub } = found
  await tab.until('its GPUs', `document.querySelectorAll('[aria-label="Figures per GPU"] tbody tr').length === 8`)
  const text = (await tab.value<string>('document.querySelector("main").innerText')).replaceAll('\u202f', ' ')
  for (const said of [
    'Between',
    'nobody told',
    'low: GPU power',
    '62 %',
    'only 31 % of the window has data',
    'node_shared',
    '0.0833 EUR',
    '480 s',
  ])
    assert.ok(text.includes(said), `it says ${said}`)
  assert.ok(
    await tab.value(`document.querySelector('.facts a[href="#/quotas/user/${full.user_id}"]') !== null`),
    "its user's quotas are a link away",
  )
  await tab.until(
    'its charts have the lines of its GPUs only',
    `[...document.querySelectorAll('figure.chart')].map((f) => f.querySelectorAll('.legend li').length).join() === '8,8,8'`,
  )
  const asked = stub.asked.find(({ pathname }) => pathname === '/api/public/metrics/query')!.searchParams
  assert.equal(asked.get('labels'), '{"Hostname":"node-1"}')
  const [from, to] = [Date.parse(asked.get('from')!), Date.parse(asked.get('to')!)]
  assert.ok(from < Date.parse(full.started_at!) && from > Date.parse(full.started_at!) - 10_000)
  assert.ok(to > Date.parse(full.ended_at!) && to < Date.parse(full.ended_at!) + 10_000)

  await tab.value(`[...document.querySelectorAll('summary')].at(-1).click()`)
  await tab.shows('xumi.generation.start')
  await tab.shows('of its node')
  await tab.value(`[...document.querySelectorAll('nav.attempts a')][0].click()`)
  await tab.until(
    'the attempt',
    `location.hash.endsWith('?attempt=1') && document.querySelector('.task-head .state').innerText === 'failed'`,
  )
  await tab.size(390, 844, true)
  await tab.fitsAcross()
  assert.deepEqual(tab.problems, [])
})

test('an error says what to do; hostile names are text, and cut; light and dark stand out', {
  timeout: 120_000,
}, async (t) => {
  const task = stubTask(1, NOW, {
    task_id: HOSTILE.slice(0, 500),
    state: 'failed',
    model: HOSTILE,
    user_id: HOSTILE,
    project: HOSTILE,
    node_id: HOSTILE,
    energy_wh: null,
    cost_micros: null,
    error_category: 'resource.oom_gpu',
  })
  const error = {
    category: 'resource.oom_gpu',
    type: 'OutOfMemoryError',
    text: HOSTILE,
    matched: null,
    rule: 'oom',
    version: '1',
    retry: 'smaller',
    chargeable_to: 'user',
    evidence: [{ kind: 'xid', text: HOSTILE }],
  }
  const found = await rig(t, ({ pathname }) => {
    if (pathname === '/v1/tasks') return page([task])
    return pathname.startsWith('/v1/tasks/')
      ? detail(stubAttempt(task, { error, tags: { [HOSTILE]: HOSTILE } }))
      : undefined
  })
  if (found === undefined) return
  const { tab } = found
  await tab.shows('onerror')
  await tab.until('it is listed', `${rows} === 1`)
  await tab.value('document.querySelector("table.tasks a").click()')
  await tab.shows('a smaller batch or context')
  await tab.shows('GPU memory ran out')
  await tab.shows('No samples say how much it was')
  assert.equal(await tab.value('typeof window.hacked + document.querySelectorAll("#app img").length'), 'undefined0')
  assert.ok((await tab.value<number>('document.querySelector("main").innerText.length')) < 8000)
  await tab.fitsAcross()
  await standsOut(tab)
  assert.deepEqual(tab.problems, [])
})

test('without the right, without an answer and without such a task, the page says so', {
  timeout: 120_000,
}, async (t) => {
  const problem = (status: number, said: string): StubAnswer => ({ status, body: { status, detail: said } })
  const found = await rig(t, ({ pathname }) => {
    if (pathname === '/v1/tasks')
      return problem(403, 'It needs the right "read", which the key "writer" does not have.')
    return pathname === '/v1/tasks/none'
      ? problem(404, 'There is no task "none" of this tenant')
      : problem(503, 'ClickHouse is away')
  })
  if (found === undefined) return
  const { tab } = found
  await tab.shows('This token may not see that. It needs the right "read"')
  await tab.value('location.hash = "#/tasks/none"')
  await tab.shows('There is no task "none" of this tenant')
  await tab.value('location.hash = "#/tasks/some"')
  await tab.shows('ClickHouse is away')
})
