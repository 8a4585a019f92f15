/** Whether the texts of a page stand out. */
import assert from 'node:assert/strict'
import type { Tab } from './browser.ts'

/** Texts of a page with less contrast to their ground than 4.5 : 1; to be evaluated in a browser. @see WCAG 2.2, 1.4.3 */
const TOO_FAINT: string = `(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4).reduce((n, c, i) => n + c * [0.2126, 0.7152, 0.0722][i], 0)
  const groundOf = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c } return [255, 255, 255] }
  return [...document.querySelectorAll('body *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== '') && e.getClientRects().length > 0).flatMap((e) => {
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(groundOf(e))]
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
    return ratio < 4.5 ? [e.textContent.slice(0, 40) + ' ' + ratio] : []
  })
})()`

/** In light and in dark. */
export async function standsOut(tab: Tab): Promise<void> {
  for (const scheme of ['light', 'dark'] as const) {
    await tab.prefer(scheme)
    await tab.until(scheme, `document.documentElement.dataset.theme === '${scheme}'`)
    assert.deepEqual(await tab.value(TOO_FAINT), [])
  }
}
