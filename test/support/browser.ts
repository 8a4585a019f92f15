/**
 * A real browser: Debian's Chromium without a window, spoken to over the DevTools protocol on a pipe (JSON texts, a zero byte after
 * each).
 * @see https://chromedevtools.github.io/devtools-protocol/
 */
import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { Readable, Writable } from 'node:stream'
import type { TestContext } from 'node:test'
import { hasPeer } from './peers.ts'
import { eventually, temporaryDirectory } from './programs.ts'

const FLAGS = [
  '--headless=new',
  '--remote-debugging-pipe',
  '--no-first-run',
  '--no-sandbox', // tests may run as root, in a container
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-background-networking',
  '--disable-component-update',
  '--force-color-profile=srgb',
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', // whatever comes from elsewhere fails
]

type Params = Readonly<Record<string, unknown>>

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: Params
  readonly result?: Params
  readonly error?: { readonly message: string }
  readonly sessionId?: string
}

export class Browser {
  readonly process: ChildProcess
  readonly #waiting = new Map<number, { resolve: (result: Params) => void; reject: (error: Error) => void }>()
  readonly #listeners = new Set<(message: Message) => void>()
  #last = 0

  constructor() {
    const profile = temporaryDirectory()
    this.process = spawn('chromium', [...FLAGS, `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    })
    let rest = ''
    ;(this.process.stdio[4] as Readable).setEncoding('utf8').on('data', (chunk: string) => {
      const texts = (rest + chunk).split('\0')
      rest = texts.pop() ?? ''
      for (const text of texts) this.#receive(JSON.parse(text) as Message)
    })
    this.process.once('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error('the browser ended'))
    })
  }

  send(method: string, params: Params = {}, sessionId?: string): Promise<Params> {
    const id = ++this.#last
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      ;(this.process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, sessionId })}\0`)
    })
  }

  listen(listener: (message: Message) => void): void {
    this.#listeners.add(listener)
  }

  /** A tab with storage of its own. */
  async open(): Promise<Tab> {
    const { browserContextId } = await this.send('Target.createBrowserContext')
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank', browserContextId })
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true })
    const tab = new Tab(this, sessionId as string)
    await tab.begin()
    return tab
  }

  #receive(message: Message): void {
    for (const listener of this.#listeners) listener(message)
    if (message.id === undefined) return
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (message.error === undefined) waiting?.resolve(message.result ?? {})
    else waiting?.reject(new Error(message.error.message))
  }
}

/** A page in the browser. */
export class Tab {
  /** What the page's scripts threw, and what the browser refused or complained of. */
  readonly problems: string[] = []
  /** Addresses that were asked for. */
  readonly requests: string[] = []
  readonly #browser: Browser
  readonly #session: string

  constructor(browser: Browser, session: string) {
    this.#browser = browser
    this.#session = session
  }

  async begin(): Promise<void> {
    this.#browser.listen(({ sessionId, method, params }) => {
      if (sessionId !== this.#session) return
      if (method === 'Runtime.exceptionThrown') this.problems.push(JSON.stringify(params))
      if (method === 'Log.entryAdded') {
        const { entry } = params as { entry: { level: string; source: string; text: string } }
        // What the server answers is told to the page, which shows it.
        if (entry.level === 'error' && entry.source !== 'network') this.problems.push(entry.text)
      }
      if (method === 'Network.requestWillBeSent')
        this.requests.push((params as { request: { url: string } }).request.url)
    })
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.#send(`${domain}.enable`)
    await this.size(1440, 1000)
  }

  async goto(url: string): Promise<void> {
    await this.#send('Page.navigate', { url })
    await this.until('the page is there', 'document.readyState === "complete"')
  }

  /** @param phone as a telephone says that it is one */
  async size(width: number, height: number, phone = false): Promise<void> {
    await this.#send('Emulation.setDeviceMetricsOverride', {
      width,
      height,
      deviceScaleFactor: phone ? 2 : 1,
      mobile: phone,
    })
  }

  async prefer(scheme: 'light' | 'dark'): Promise<void> {
    await this.#send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
  }

  /** The value of an expression in the page. @throws Error what it threw */
  async value<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.#send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    })) as { result: { value: T }; exceptionDetails?: { exception?: { description?: string } } }
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? 'it threw')
    return result.value
  }

  /** Waits until an expression in the page is true. */
  async until(what: string, expression: string): Promise<void> {
    await eventually(what, () => this.value<boolean>(`Boolean(${expression})`), 20_000).catch(async (error: Error) => {
      const text = await this.value<string>('document.body.innerText')
      throw new Error(`${error.message}\n${this.problems.join('\n')}\nThe page:\n${text}`, { cause: error })
    })
  }

  /** Waits until the page shows a text. */
  shows(text: string): Promise<void> {
    return this.until(`it shows "${text}"`, `document.body.innerText.includes(${JSON.stringify(text)})`)
  }

  /** Waits until nothing has to be scrolled sideways: charts follow a new width a frame later. */
  fitsAcross(): Promise<void> {
    const root = 'document.documentElement'
    return this.until('nothing scrolls sideways', `${root}.scrollWidth <= ${root}.clientWidth`)
  }

  /** Types into what has the focus, as a person does. */
  async type(text: string): Promise<void> {
    await this.#send('Input.insertText', { text })
  }

  async press(key: string): Promise<void> {
    const text = key === 'Enter' ? '\r' : key.length === 1 ? key : undefined
    const code = key === 'Enter' ? 13 : key === 'Tab' ? 9 : undefined
    const common = { key, ...(code === undefined ? {} : { windowsVirtualKeyCode: code }) }
    await this.#send('Input.dispatchKeyEvent', { type: 'keyDown', ...common, ...(text === undefined ? {} : { text }) })
    await this.#send('Input.dispatchKeyEvent', { type: 'keyUp', ...common })
  }

  async screenshot(path: string, whole = true): Promise<void> {
    const { data } = await this.#send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: whole })
    writeFileSync(path, Buffer.from(data as string, 'base64'))
  }

  #send(method: string, params?: Params): Promise<Params> {
    return this.#browser.send(method, params, this.#session)
  }
}

/** @returns undefined where there is none: the test was skipped, or fails in CI */
export function startBrowser(t: TestContext): Browser | undefined {
  if (!hasPeer(t, 'chromium', '--version', "Debian's chromium")) return undefined
  const browser = new Browser()
  t.after(() => {
    browser.process.kill('SIGKILL')
  })
  return browser
}
