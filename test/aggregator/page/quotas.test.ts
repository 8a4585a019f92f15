/** Quotas on the page, in a real browser, over a real aggregator: definitions, reservations and usage are made over HTTP. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { Tab } from '../../support/browser.ts'
import { startBrowser } from '../../support/browser.ts'
import { standsOut } from '../../support/contrast.ts'
import type { Running } from '../../support/programs.ts'
import {
  authorized,
  enginePid,
  isAlive,
  kill,
  ready,
  start,
  TOKEN,
  temporaryDirectory,
} from '../../support/programs.ts'

const KEYS = [
  { name: 'finance', token: 'finance-token', tenant: 'default', may: ['read'] },
  { name: 'writer', token: 'writer-token', tenant: 'default', may: ['write'] },
]
/** Markup, characters that addresses are made of, and a change of the direction of writing. */
const HOSTILE = `<img src=x onerror="window.hacked=1">/?#&%2F\u202e\u05d0${'x'.repeat(100)}`
const DAY_MS = 86_400_000

const rows = 'document.querySelectorAll("table.quotas tbody tr").length'
const text = `document.querySelector("main").innerText.replaceAll('\\u202f', ' ')`
const rowOf = (name: string): string =>
  `[...document.querySelectorAll('table.quotas tbody tr')].find((row) => row.innerText.includes(${JSON.stringify(name)}))?.innerText.replaceAll('\\u202f', ' ')`

class Rig {
  readonly aggregator: Running
  readonly tab: Tab

  constructor(aggregator: Running, tab: Tab) {
    this.aggregator = aggregator
    this.tab = tab
  }

  static async start(t: TestContext): Promise<Rig | undefined> {
    const browser = startBrowser(t)
    if (browser === undefined) return undefined
    const aggregator = await start('aggregator', {
      FLEETMETER_DATA_DIR: temporaryDirectory(),
      FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '100',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '100000',
      FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '100000',
      FLEETMETER_KEYS: JSON.stringify(KEYS),
    })
    t.after(() => kill(aggregator))
    await ready(aggregator.url)
    return new Rig(aggregator, await browser.open())
  }

  async post(path: string, body: object): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.aggregator.url}${path}`, {
      method: 'POST',
      headers: { ...authorized, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    const answer = (await response.json()) as Record<string, unknown>
    assert.ok(response.ok, JSON.stringify(answer))
    return answer
  }

  define(quota: object): Promise<Record<string, unknown>> {
    return this.post('/v1/quotas', {
      resource: 'gpu_seconds',
      window: 'month',
      valid_from: '2026-01-01T00:00:00Z',
      ...quota,
    })
  }

  /** @param ago ms */
  used(id: string, whom: object, resource: string, amount: number, ago = 0): Promise<unknown> {
    const at = new Date(Date.now() - ago).toISOString()
    return this.post('/v1/quota/adjustments', { id, ...whom, resource, amount, at, reason: 'for a test' })
  }

  async open(hash: string, token = TOKEN): Promise<void> {
    await this.tab.goto('about:blank')
    await this.tab.goto(`${this.aggregator.url}/#token=${token}`)
    await this.tab.value(`location.hash = ${JSON.stringify(hash)}`)
  }
}

test('quotas are listed with their use, filtered and turned over by addresses that survive a reload', {
  timeout: 180_000,
}, async (t) => {
  const rig = await Rig.start(t)
  if (rig === undefined) return
  const { tab } = rig

  await t.test('where there is none, it says so', async () => {
    await rig.open('#/quotas')
    await tab.shows('There is no quota: nothing is limited')
  })
  await t.test('each with its limit, and its use where it names somebody', async () => {
    await rig.define({ level: 'user', limit: 36_000, thresholds: [80, 100] })
    await rig.define({ level: 'user', subject: 'ada', limit: 36_000, thresholds: [80] })
    await rig.define({ level: 'project', subject: 'vision', limit: 100, resource: 'tokens', enforcement: 'soft' })
    await rig.define({ level: 'tenant', limit: 10, resource: 'credits', window: 'lifetime', shadow: true })
    await rig.define({ level: 'user', subject: HOSTILE, limit: 10, resource: 'tokens' })
    await rig.used('1', { user_id: 'ada' }, 'gpu_seconds', 7200)
    await rig.used('2', { project: 'vision' }, 'tokens', 85)
    await rig.used('3', {}, 'credits', 12.5)
    await rig.post('/v1/quota/reservations', { id: 'for-ada', user_id: 'ada', amounts: { gpu_seconds: 10_800 } })
    await rig.open('#/quotas', 'finance-token')
    await tab.until('ada', `/10 h\\s+hard\\s+2 h \\+ 3 h held 50 %\\s+ok/.test(${rowOf('ada')})`)
    await tab.until('a project', `/100\\s+soft\\s+85 85 %\\s+near/.test(${rowOf('vision')})`)
    await tab.until(
      'the tenant',
      `/10.00 credits\\s+shadow\\s+12.50 credits 125 %\\s+over\\s+never/.test(${rowOf('Credits')})`,
    )
    await tab.until('each user', `/each by itself\\s+—/.test(${rowOf('each user')})`)
    assert.equal(await tab.value('document.querySelector("nav[aria-label=Views] [aria-current]").innerText'), 'Quotas')
  })
  await t.test('a name that is hostile is text, and its view is found', async () => {
    assert.ok(!(await tab.value<boolean>('document.querySelector("#app img") !== null')))
    await tab.value(
      `[...document.querySelectorAll('table.quotas a')].find((a) => a.innerText.includes('onerror')).click()`,
    )
    await tab.until('its own', `location.hash.startsWith('#/quotas/user/') && ${text}.includes('Tokens in a month')`)
    await tab.value('window.before = true; location.reload()')
    await tab.until('it is the same', `window.before === undefined && ${text}.includes('Tokens in a month')`)
    await tab.shows('onerror')
    assert.equal(await tab.value('typeof window.hacked + document.querySelectorAll("#app img").length'), 'undefined0')
    await tab.fitsAcross()
  })
  await t.test('filters and pages stand in the address', async () => {
    for (let i = 0; i < 25; i++) await rig.define({ level: 'department', subject: `d${i}`, limit: 3600 })
    await tab.value(`location.hash = '#/quotas'`)
    await tab.until('the first page', `${rows} === 25`)
    await tab.value(`[...document.querySelectorAll('nav.pages a')].find((a) => a.innerText === 'Next').click()`)
    await tab.until('the next page', `${rows} === 5 && location.hash.includes('cursor=')`)
    await tab.value('window.before = true; location.reload()')
    await tab.until('it is still there', `window.before === undefined && ${rows} === 5 && ${text}.includes('First')`)
    await tab.value(`(() => {
      const select = document.querySelector('search.filters select')
      select.value = 'user'
      select.dispatchEvent(new Event('change', { bubbles: true }))
    })()`)
    await tab.until('those of users', `${rows} === 3 && location.hash === '#/quotas?level=user'`)
    await tab.value(`document.querySelectorAll('search.filters input')[1].focus()`)
    await tab.type('tokens')
    await tab.press('Enter')
    await tab.until('of tokens', `${rows} === 1 && location.hash === '#/quotas?level=user&resource=tokens'`)
    await tab.value('window.before = true; location.reload()')
    await tab.until('it is the same', `window.before === undefined && ${rows} === 1`)
    await tab.value(`location.hash = '#/quotas?subject=nobody'`)
    await tab.shows('No quota that holds now is like that')
  })
  await t.test('a phone has all of it, light and dark stand out', async () => {
    await tab.value(`location.hash = '#/quotas'`)
    await tab.until('the first page', `${rows} === 25 && /2 h \\+ 3 h held/.test(${rowOf('ada')})`)
    await standsOut(tab)
    await tab.size(390, 844, true)
    await tab.fitsAcross()
    assert.match(await tab.value<string>(rowOf('vision')), /soft[\s\S]*85[\s\S]*near/)
  })
  await t.test('a token that may not see them is told so', async () => {
    await rig.open('#/quotas', 'writer-token')
    await tab.shows('This token may not see that.')
    await tab.value(`location.hash = '#/quotas/user/ada'`)
    await tab.shows('which the key "writer" does not have')
  })
  assert.deepEqual(tab.problems, [])
})

test("a subject's quotas: what is held, its history and where it leads to; what cannot be counted is no zero", {
  timeout: 180_000,
}, async (t) => {
  const rig = await Rig.start(t)
  if (rig === undefined) return
  const { tab } = rig
  const ada = { user_id: 'ada' }
  await rig.define({ level: 'user', limit: 36_000, thresholds: [50, 80] })
  await rig.define({ level: 'user', limit: 100, resource: 'credits', window: 'lifetime', thresholds: [80] })
  await rig.used('1', ada, 'gpu_seconds', 1800)
  await rig.used('2', ada, 'credits', 30, 10 * DAY_MS)
  await rig.used('3', ada, 'credits', 30.25, 5 * DAY_MS)
  for (let i = 0; i < 27; i++)
    await rig.post('/v1/quota/reservations', { id: `r-${i}`, ...ada, task_id: `t-${i}`, amounts: { gpu_seconds: 60 } })
  // No threshold: nobody has looked at it, so that it is not in memory.
  await rig.define({ level: 'project', limit: 36_000 })
  await rig.used('4', { project: 'cold' }, 'gpu_seconds', 3600)

  await t.test('anybody is found by name', async () => {
    await rig.open('#/quotas')
    await tab.until('the finder is there', 'document.getElementById("whose") !== null')
    await tab.value('document.getElementById("whose").focus()')
    await tab.type('ada')
    await tab.press('Enter')
    await tab.until('ada', `location.hash === '#/quotas/user/ada' && ${rows} === 2`)
  })
  await t.test('the one nearest to its limit is shown in full: its line, its limit, where it leads to', async () => {
    await tab.until('credits', `${text}.includes('Credits in all time')`)
    await tab.until('the rate', `${text}.includes('At this rate over the limit on')`)
    await tab.until('it says what that is', `${text}.includes('A straight line')`)
    const legend = `[...document.querySelectorAll('.legend li')].map((li) => li.innerText.replace('\\n', ' ')).join('; ')`
    await tab.until('its lines', `${legend}.startsWith('Used 60.3; Limit 100; 80 % 80; At this rate')`)
    await tab.until('it is drawn', 'document.querySelector(".plot canvas") !== null')
  })
  await t.test('another is chosen, and stands in the address; it is by quarters or hours', async () => {
    await tab.value(`[...document.querySelectorAll('table.quotas a')].find((a) => a.innerText === 'GPU time').click()`)
    await tab.until('GPU time', `${text}.includes('GPU time in a month') && location.hash.includes('?quota=')`)
    await tab.until(
      'its history',
      `/Used\\s+30 min/.test(document.querySelector('.legend')?.innerText.replaceAll('\\u202f', ' '))`,
    )
    await tab.value('window.before = true; location.reload()')
    await tab.until('it is the same', `window.before === undefined && ${text}.includes('GPU time in a month')`)
    await tab.until('held', `/Held\\s+27 min/.test(${text})`)
  })
  await t.test('reservations are listed in pages, and go when they are settled', async () => {
    const holds = `[...document.querySelectorAll('table.holds tbody th')].map((th) => th.innerText).join()`
    await tab.until('the oldest', `${holds}.startsWith('r-0,r-1,') && ${holds}.split(',').length === 25`)
    await tab.value(`[...document.querySelectorAll('nav.pages a')].find((a) => a.innerText === 'Newer').click()`)
    await tab.until('the next', `${holds} === 'r-25,r-26'`)
    await tab.value('window.before = true; location.reload()')
    await tab.until('it is the same', `window.before === undefined && ${holds} === 'r-25,r-26'`)
    await rig.post('/v1/quota/reservations/r-25/release', {})
    await tab.until('it is gone', `${holds} === 'r-26' && /Held\\s+26 min/.test(${text})`)
  })
  await t.test('a phone, light and dark', async () => {
    await standsOut(tab)
    await tab.size(390, 844, true)
    await tab.fitsAcross()
    await tab.size(1440, 1000)
  })
  await t.test('while the engine is away, what was used is not known, and comes back by itself', async () => {
    const engine = enginePid(rig.aggregator)!
    process.kill(engine, 'SIGSTOP')
    try {
      await tab.value(`location.hash = '#/quotas/project/cold'`)
      await tab.until('a dash', `${text}.includes('could not be counted in time') && ${text}.includes('not counted')`)
      await tab.until('of what was used and left', `/Used\\s+—/.test(${text}) && /Left\\s+—/.test(${text})`)
      assert.ok(!(await tab.value<string>(text)).includes('At this rate'))
    } finally {
      if (isAlive(engine)) process.kill(engine, 'SIGCONT') // else another has taken its place
    }
    await tab.until('it is counted', `/Used\\s+1 h/.test(${text}) && !${text}.includes('not counted')`)
  })
  await t.test('where nothing holds and nothing is reserved it says so', async () => {
    await tab.value(`location.hash = '#/quotas/department/none'`)
    await tab.shows('No quota holds for this department')
    await tab.shows('Nothing is reserved for it')
    await tab.value(`location.hash = '#/quotas/tenant/another'`)
    await tab.shows('X-Scope-OrgID chooses another')
  })
  assert.deepEqual(tab.problems, [])
})
