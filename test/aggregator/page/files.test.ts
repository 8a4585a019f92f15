/** The page's files over HTTP: policy, caching, compression, and what is not there. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import type { IncomingHttpHeaders } from 'node:http'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { test } from 'node:test'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { Page } from '../../../aggregator/page/page.ts'
import { temporaryDirectory } from '../../support/programs.ts'

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

type Ask = (path: string, headers?: Record<string, string>, method?: string) => Promise<Answer>

function builtPage(): string {
  const directory = temporaryDirectory()
  const files = {
    'page.html':
      '<link rel="icon" href="icon.svg"><link rel="stylesheet" href="main.css"><script type="module" src="main.js"></script>',
    'main.js': `/* ${'long '.repeat(1000)} */`,
    'main.css': 'body{}',
    'icon.svg': '<svg/>',
  }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  return directory
}

async function serve(t: TestContext, page: Page): Promise<Ask> {
  const server = createServer((incoming, response) => {
    const path = incoming.url ?? ''
    if (page.serves(incoming.method, path)) page.handle(path, incoming, response)
    else response.writeHead(418).end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { port } = server.address() as AddressInfo
  // fetch() would decompress, and add headers of its own.
  return (path, headers = {}, method = 'GET') =>
    new Promise((resolve, reject) => {
      const outgoing = request({ port, host: '127.0.0.1', path, headers, method, agent: false }, (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) }),
        )
      })
      outgoing.on('error', reject)
      outgoing.end()
    })
}

test('the document refers to its files by their content, which are kept for good; it is itself asked again', async (t) => {
  const ask = await serve(t, await Page.load(builtPage()))
  const document = await ask('/')
  assert.equal(document.status, 200)
  assert.equal(document.headers['content-type'], 'text/html; charset=utf-8')
  assert.equal(document.headers['cache-control'], 'no-cache')
  const names = [...document.body.toString().matchAll(/(?:href|src)="([^"]+)"/g)].map(([, name]) => name!)
  assert.equal(names.length, 3)
  for (const name of names) {
    assert.match(name, /^page\/\w+-[\w-]{12}\.(js|css|svg)$/)
    const file = await ask(`/${name}`)
    assert.equal(file.status, 200)
    assert.equal(file.headers['cache-control'], 'public, max-age=31536000, immutable')
    assert.equal(file.headers['x-content-type-options'], 'nosniff')
  }
  const again = await ask('/', { 'If-None-Match': `"other", W/${document.headers.etag}` })
  assert.deepEqual([again.status, again.body.length, again.headers.etag], [304, 0, document.headers.etag])
  assert.equal((await ask('/', { 'If-None-Match': '"other"' })).status, 200)
})

test('its policy lets nothing in from elsewhere, and no text become code', async (t) => {
  const { headers } = await (await serve(t, await Page.load(builtPage())))('/')
  const policy = headers['content-security-policy'] as string
  for (const part of [
    "default-src 'none'",
    "script-src 'self'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ])
    assert.ok(policy.split('; ').includes(part), part)
  assert.doesNotMatch(policy, /unsafe|https?:|\*|data:/)
})

test('what is sent is as small as the client takes it, each form with a tag of its own', async (t) => {
  const ask = await serve(t, await Page.load(builtPage()))
  const name = /page\/main-[^"]+\.js/.exec((await ask('/')).body.toString())![0]
  const plain = await ask(`/${name}`)
  const tags = new Set([plain.headers.etag])
  for (const [accepted, encoding, decode] of [
    ['gzip, deflate, br, zstd', 'br', brotliDecompressSync],
    ['gzip', 'gzip', gunzipSync],
    ['br;q=0, GZIP;q=0.5', 'gzip', gunzipSync],
  ] as const) {
    const small = await ask(`/${name}`, { 'Accept-Encoding': accepted })
    assert.equal(small.headers['content-encoding'], encoding)
    assert.equal(small.headers.vary, 'Accept-Encoding')
    assert.ok(small.body.length < plain.body.length / 10)
    assert.deepEqual(decode(small.body), plain.body)
    tags.add(small.headers.etag)
  }
  assert.equal(tags.size, 3)
  const head = await ask(`/${name}`, {}, 'HEAD')
  assert.deepEqual([head.status, head.body.length, head.headers['content-length']], [200, 0, String(plain.body.length)])
})

test('other paths and methods are answered as such', async (t) => {
  const ask = await serve(t, await Page.load(builtPage()))
  assert.equal((await ask('/page/other.js')).status, 404)
  assert.equal((await ask('/page/..%2f..%2fpackage.json')).status, 404)
  const name = /page\/main-[^"]+\.js/.exec((await ask('/')).body.toString())![0]
  const posted = await ask(`/${name}`, {}, 'POST')
  assert.deepEqual([posted.status, posted.headers.allow], [405, 'GET, HEAD'])
  assert.equal((await ask('/', {}, 'POST')).status, 418, 'that is not the page')
})
