/** The first page in a real browser, over a real collector and aggregator: every state that its user can meet. */
import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import type { Browser, Tab } from '../../support/browser.ts'
import { startBrowser } from '../../support/browser.ts'
import type { Pair } from '../../support/pair.ts'
import { startPair } from '../../support/pair.ts'
import { freePort, kill, ready, start, TOKEN } from '../../support/programs.ts'
import type { Point } from '../../support/write-request.ts'
import { remoteWriteBody } from '../../support/write-request.ts'

const KEYS = [
  { name: 'team-a', token: 'a-token', tenant: 'team-a', may: ['write', 'read'] },
  { name: 'team-b', token: 'b-token', tenant: 'team-b', may: ['write', 'read'] },
  { name: 'writer', token: 'writer-token', tenant: 'team-a', may: ['write'] },
]

const ENV = {
  FLEETMETER_KEYS: JSON.stringify(KEYS),
  FLEETMETER_COLLECTOR_SENDER_INTERVAL_MS: '200',
}

/** Hostile in every place that a page could put it. */
const HOSTILE = `"><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>\`\${window.hacked=3}'`

async function rig(t: TestContext): Promise<{ browser: Browser; pair: Pair; tab: Tab } | undefined> {
  const browser = startBrowser(t)
  if (browser === undefined) return undefined
  const [pair, tab] = await Promise.all([startPair(t, ENV), browser.open()])
  return { browser, pair, tab }
}

async function write({ collector }: Pair, points: readonly Point[], token = TOKEN): Promise<number> {
  const headers = { Authorization: `Bearer ${token}` }
  return (await fetch(`${collector.url}/api/v1/write`, { method: 'POST', headers, body: remoteWriteBody(points) }))
    .status
}

/** A host with a GPU, over the last minutes. */
function hostFigures(host: string, extra: Record<string, string> = {}): Point[] {
  const now = Date.now()
  const first = host.endsWith('1') || !/\d$/.test(host) // others have other figures: equal lines hide each other
  return [150, 100, 50, 0].flatMap((age): Point[] => {
    const time = now - age * 1000
    const gpu = { gpu: '0', UUID: `GPU-of-${host}`, modelName: 'NVIDIA H100 80GB HBM3', Hostname: host, ...extra }
    const node = { instance: `${host}:9100`, ...extra }
    return [
      { name: 'node_load1', labels: node, time, value: first ? 12.5 : 20 },
      { name: 'node_memory_MemTotal_bytes', labels: node, time, value: 1000 },
      { name: 'node_memory_MemAvailable_bytes', labels: node, time, value: 360 },
      { name: 'node_cpu_seconds_total', labels: { ...node, cpu: '0', mode: 'idle' }, time, value: 1000 - age * 0.25 },
      { name: 'DCGM_FI_DEV_GPU_UTIL', labels: gpu, time, value: first ? 93 : 43 },
      { name: 'DCGM_FI_DEV_POWER_USAGE', labels: gpu, time, value: 512 },
    ]
  })
}

async function signIn(tab: Tab, url: string, token: string): Promise<void> {
  await tab.goto(url)
  await tab.until('the token is asked for', 'document.activeElement?.id === "token"')
  await tab.type(token)
  await tab.press('Enter')
}

/** Whether a chart has something drawn in a colour of its lines. */
const isDrawn = (title: string): string => `(() => {
  const chart = [...document.querySelectorAll('figure.chart')].find((f) => f.querySelector('h3').textContent.startsWith(${JSON.stringify(title)}))
  const canvas = chart?.querySelector('canvas')
  if (!canvas) return false
  const colour = getComputedStyle(canvas).getPropertyValue('--line-0').trim().slice(1)
  const [r, g, b] = [0, 2, 4].map((i) => Number.parseInt(colour.slice(i, i + 2), 16))
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  for (let i = 0; i < data.length; i += 4)
    if (Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12 && data[i + 3] > 200) return true
  return false
})()`

test('the page asks for a token, says what is wrong with one, keeps a right one, and shows what arrives as it does', {
  timeout: 180_000,
}, async (t) => {
  const found = await rig(t)
  if (found === undefined) return
  const { browser, pair, tab } = found
  const { url } = pair.aggregator

  await t.test('a wrong token is said to be one', async () => {
    await signIn(tab, url, 'wrong')
    await tab.shows('This token is not valid here')
  })
  await t.test('a token that may not read is told which right it lacks', async () => {
    await signIn(tab, url, 'writer-token')
    await tab.shows('needs the right "read", which the key "writer" does not have')
  })
  await t.test('with nothing there it says how to begin', async () => {
    await signIn(tab, url, TOKEN)
    await tab.shows('Nothing has arrived yet')
    await tab.shows('/api/v1/write')
  })
  await t.test('a sender, a host, its GPU and their charts come without a reload', async () => {
    assert.equal(await write(pair, hostFigures('gpu-01')), 204)
    assert.equal(await write(pair, [{ name: 'late', labels: {}, time: Date.now() + 3_600_000, value: 1 }]), 400)
    await tab.shows('gpu-01')
    await tab.shows('H100 80GB HBM3')
    for (const text of ['93 %', '512 W', '64 %', 'Remote write', 'admin token', 'too_new'])
      await tab.until(`it shows ${text}`, `document.body.innerText.replaceAll('\\u202f', ' ').includes('${text}')`)
    for (const title of ['CPU busy', 'Memory used', 'GPU utilisation', 'GPU power'])
      await tab.until(`${title} is drawn`, isDrawn(title))
    await tab.shows('75')
  })
  await t.test('the token is kept until the tab is closed, and no longer, unless it is wished', async () => {
    await tab.goto('about:blank')
    await tab.goto(url)
    await tab.shows('gpu-01')
    assert.equal(await tab.value('localStorage.length'), 0)
    await tab.value('[...document.querySelectorAll("button")].find((b) => b.innerText === "Sign out").click()')
    await tab.until('the token is asked for', 'document.activeElement?.id === "token"')
    assert.equal(await tab.value('sessionStorage.length'), 0)
    await tab.value('document.querySelector("input[type=checkbox]").click()')
    await tab.value('document.getElementById("token").focus()')
    await tab.type(TOKEN)
    await tab.press('Enter')
    await tab.shows('gpu-01')
    assert.match(await tab.value<string>('JSON.stringify(localStorage)'), new RegExp(TOKEN))
  })
  await t.test('the link that `npm start` prints signs in for this tab, and the token leaves the address', async () => {
    await tab.value('localStorage.clear(); sessionStorage.clear()')
    await tab.goto('about:blank')
    await tab.goto(`${url}/#token=%`)
    await tab.until('the token is asked for', 'document.activeElement?.id === "token"')
    await tab.goto('about:blank')
    await tab.goto(`${url}/#token=${TOKEN}`)
    await tab.shows('gpu-01')
    assert.equal(await tab.value('location.href'), `${url}/`)
    assert.equal(await tab.value('localStorage.length'), 0)
  })
  await t.test('a host is chosen for the charts', async () => {
    assert.equal(await write(pair, hostFigures('gpu-02')), 204)
    await tab.shows('gpu-02')
    await tab.value('[...document.querySelectorAll("button.link")].find((b) => b.innerText === "gpu-02").click()')
    await tab.until(
      'one host',
      `[...document.querySelectorAll('figure.chart')][1].querySelectorAll('.legend li').length === 1`,
    )
    await tab.shows('Show all hosts')
  })
  await t.test('on a phone nothing has to be scrolled sideways', async () => {
    await tab.size(360, 740, true)
    await tab.shows('gpu-01')
    await tab.fitsAcross()
    await tab.value('location.hash = "#/metrics?name=node_load1"')
    await tab.until('the chart', isDrawn('avg'))
    await tab.fitsAcross()
    await tab.size(1440, 1000)
  })
  await t.test('nothing was asked of anybody else, and nothing was refused by the policy', () => {
    assert.deepEqual(
      tab.requests.filter((asked) => !asked.startsWith(url) && !asked.startsWith('about:')),
      [],
    )
    assert.deepEqual(tab.problems, [])
  })
  await t.test('through the address of the collector it is the same page', async () => {
    const other = await browser.open()
    await signIn(other, pair.collector.url, TOKEN)
    await other.shows('gpu-01')
    assert.deepEqual(other.problems, [])
  })
})

test('the finder finds a metric by words, draws it and narrows it down by its labels, from the keyboard', {
  timeout: 120_000,
}, async (t) => {
  const found = await rig(t)
  if (found === undefined) return
  const { pair, tab } = found
  assert.equal(await write(pair, [...hostFigures('gpu-01'), ...hostFigures('gpu-02')]), 204)
  await signIn(tab, pair.aggregator.url, TOKEN)
  await tab.shows('gpu-02')
  await tab.press('/')
  await tab.until('the search has the focus', 'document.activeElement?.id === "search"')
  await tab.type('UTIL gpu')
  await tab.until(
    'the metric and what rules make of it are left',
    `[...document.querySelectorAll('.finder li .name')].map((n) => n.textContent.split(':')[0]).join() === Array(4).fill('DCGM_FI_DEV_GPU_UTIL').join()`,
  )
  await tab.press('Tab')
  await tab.press('Enter')
  await tab.until('it is drawn', isDrawn('avg'))
  await tab.until('both series', `document.querySelectorAll('.detail tbody tr').length === 2`)
  const choose = (label: string, value: string): string => `(() => {
    const select = [...document.querySelectorAll('.controls label')].find((l) => l.firstChild.textContent === '${label}').querySelector('select')
    select.value = '${value}'
    select.dispatchEvent(new Event('change', { bubbles: true }))
  })()`
  await tab.until('its labels', `[...document.querySelectorAll('.controls option')].some((o) => o.value === 'gpu-02')`)
  await tab.value(choose('Hostname', 'gpu-02'))
  await tab.until('one series', `document.querySelectorAll('.detail tbody tr').length === 1`)
  await tab.shows('GPU-of-gpu-02')
  assert.match(await tab.value<string>('location.hash'), /name=DCGM_FI_DEV_GPU_UTIL.*l\.Hostname=gpu-02/)
  // A counter is shown as what it rises by.
  await tab.value('location.hash = "#/metrics?name=node_cpu_seconds_total&range=1h"')
  await tab.shows('Rise a second')
  await tab.until(
    'a quarter of a second each second, wherever in a step its samples lie',
    `[...document.querySelectorAll('.detail tbody .figure')].slice(0, 3).map((f) => f.textContent).join() === Array(3).fill('250\\u202fms/s').join()`,
  )
  await tab.value('location.hash = "#/metrics?name=no_such_metric"')
  await tab.shows('No samples in this time')
  assert.deepEqual(tab.problems, [])
})

test('while the aggregator is away the page says so, keeps what it showed, and goes on when it is back', {
  timeout: 120_000,
}, async (t) => {
  const browser = startBrowser(t)
  if (browser === undefined) return
  const listen = `127.0.0.1:${await freePort()}`
  const pair = await startPair(t, {
    ...ENV,
    FLEETMETER_AGGREGATOR_LISTEN: listen,
    FLEETMETER_AGGREGATOR_URL: `http://${listen}`,
  })
  const tab = await browser.open()
  assert.equal(await write(pair, hostFigures('gpu-01')), 204)
  await signIn(tab, pair.aggregator.url, TOKEN)
  await tab.shows('gpu-01')
  await kill(pair.aggregator)
  await tab.shows('No new figures')
  await tab.shows('gpu-01')
  const again = await start('aggregator', {
    FLEETMETER_DATA_DIR: pair.data,
    FLEETMETER_AGGREGATOR_LISTEN: listen,
    ...ENV,
  })
  t.after(() => kill(again))
  await ready(again.url)
  await tab.value('[...document.querySelectorAll("button")].find((b) => b.innerText === "Ask now")?.click()')
  await tab.until('it is live', `document.querySelector('.status.live')?.innerText.startsWith('Live')`)
  await tab.shows('gpu-01')
})

test('what stands in labels is shown and never run', { timeout: 120_000 }, async (t) => {
  const found = await rig(t)
  if (found === undefined) return
  const { pair, tab } = found
  assert.equal(await write(pair, hostFigures('gpu-01', { Hostname: HOSTILE, modelName: HOSTILE, job: HOSTILE })), 204)
  assert.equal(
    await write(pair, [{ name: HOSTILE, labels: { [HOSTILE]: HOSTILE, __proto__x: 'y' }, time: Date.now(), value: 1 }]),
    204,
  )
  await signIn(tab, pair.aggregator.url, TOKEN)
  await tab.shows('onerror=')
  await tab.value(
    `location.hash = '#/metrics?' + new URLSearchParams({ name: ${JSON.stringify(HOSTILE)}, range: '15m' })`,
  )
  await tab.until(
    'its label is shown',
    `document.querySelector('.detail table')?.innerText.includes('onerror=') || document.querySelector('.detail p.labels')?.innerText.includes('onerror=')`,
  )
  await tab.value(
    `location.hash = '#/metrics?' + new URLSearchParams({ name: 'node_load1', range: '<img src=x>', agg: '<b>', by: '__proto__', 'l.job': ${JSON.stringify(HOSTILE)} })`,
  )
  await tab.until('it is drawn', isDrawn('avg'))
  assert.equal(await tab.value('typeof window.hacked'), 'undefined')
  assert.equal(await tab.value('document.querySelectorAll("#app img, #app script").length'), 0)
  assert.deepEqual(tab.problems, [])
})

test('a tenant sees its own figures only; the admin may choose', { timeout: 120_000 }, async (t) => {
  const found = await rig(t)
  if (found === undefined) return
  const { browser, pair, tab } = found
  assert.equal(await write(pair, hostFigures('host-of-a'), 'a-token'), 204)
  assert.equal(await write(pair, hostFigures('host-of-b'), 'b-token'), 204)
  await signIn(tab, pair.aggregator.url, 'a-token')
  await tab.shows('host-of-a')
  await tab.shows('team-a')
  await tab.value('location.hash = "#/metrics?name=node_load1"')
  await tab.shows('host-of-a')
  assert.doesNotMatch(await tab.value<string>('document.documentElement.outerHTML'), /host-of-b|team-b/)
  const admin = await browser.open()
  await signIn(admin, pair.aggregator.url, TOKEN)
  await admin.until(
    'tenants to choose from',
    `[...document.querySelectorAll('.tools option')].some((o) => o.value === 'team-b')`,
  )
  await admin.until(
    'senders of all',
    `['team-a', 'team-b'].every((t) => document.querySelector('main').innerText.includes(t))`,
  )
  await admin.value(`(() => {
    const select = [...document.querySelectorAll('select')].find((s) => [...s.options].some((o) => o.value === 'team-b'))
    select.value = 'team-b'
    select.dispatchEvent(new Event('change', { bubbles: true }))
  })()`)
  await admin.shows('host-of-b')
  assert.doesNotMatch(await admin.value<string>('document.querySelector("main").innerText'), /host-of-a/)
})

/** Contrast of each text with the ground below it, the lowest first. @see WCAG 2.2, 1.4.3 */
const contrasts = `(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((n, c, i) => n + c * [0.2126, 0.7152, 0.0722][i], 0)
  const groundOf = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c } return [255, 255, 255] }
  const found = []
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== '') || e.getClientRects().length === 0) continue
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(groundOf(e))]
    found.push({ ratio: (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text: e.textContent.slice(0, 40) })
  }
  for (let i = 0; i < 8; i++) {
    const hex = getComputedStyle(document.body).getPropertyValue('--line-' + i).trim()
    const [a, b] = [light([1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16))), light(groundOf(document.querySelector('.chart')))]
    found.push({ ratio: 1.5 * (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), text: 'line ' + i })
  }
  return found.sort((a, b) => a.ratio - b.ratio)
})()`

test('light and dark follow the system and the switch; every text stands out from its ground, lines too', {
  timeout: 120_000,
}, async (t) => {
  const found = await rig(t)
  if (found === undefined) return
  const { pair, tab } = found
  assert.equal(await write(pair, hostFigures('gpu-01')), 204)
  assert.equal(await write(pair, [{ name: 'late', labels: {}, time: Date.now() + 3_600_000, value: 1 }]), 400)
  await tab.prefer('dark')
  await signIn(tab, pair.aggregator.url, TOKEN)
  await tab.shows('too_new')
  const ground = (): Promise<string> => tab.value<string>('getComputedStyle(document.body).backgroundColor')
  const check = async (): Promise<void> => {
    const all = await tab.value<{ ratio: number; text: string }[]>(contrasts)
    assert.ok(all.length > 50)
    assert.deepEqual(
      all.filter(({ ratio }) => ratio < 4.5),
      [],
    )
  }
  const dark = await ground()
  await check()
  await tab.prefer('light')
  await tab.until('it is light', `document.documentElement.dataset.theme === 'light'`)
  assert.notEqual(await ground(), dark)
  await check()
  await tab.value(`(() => {
    const select = [...document.querySelectorAll('select')].find((s) => [...s.options].some((o) => o.value === 'dark'))
    select.value = 'dark'
    select.dispatchEvent(new Event('change', { bubbles: true }))
  })()`)
  assert.equal(await ground(), dark)
  await tab.goto('about:blank')
  await tab.goto(pair.aggregator.url)
  await tab.shows('gpu-01')
  assert.equal(await ground(), dark, 'chosen once, it stays')
})
