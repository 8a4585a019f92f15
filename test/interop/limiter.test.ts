/** The query limiter over HTTP: nebula reads Retry-After as a whole number of seconds and nothing else. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startPair } from '../support/pair.ts'
import { authorized } from '../support/programs.ts'

test('sixty questions at once: some forty are answered, the others 429 with Retry-After and a body that clients read', async (t) => {
  const { collector } = await startPair(t)
  const responses = await Promise.all(
    Array.from({ length: 60 }, () =>
      fetch(`${collector.url}/api/public/metrics/query?name=a`, { headers: authorized }),
    ),
  )
  const allowed = responses.filter((r) => r.status === 200).length
  const refused = responses.filter((r) => r.status === 429)
  assert.ok(allowed >= 40 && allowed <= 55, `${allowed} were answered`)
  assert.equal(allowed + refused.length, 60)
  for (const response of refused) {
    assert.match(response.headers.get('retry-after') ?? '', /^[1-9]\d*$/)
    const body = (await response.json()) as {
      code: string
      data: null
      meta: { rate_limit: { remaining: number; reset_at: string } }
    }
    assert.deepEqual([body.code, body.data, body.meta.rate_limit.remaining], ['TOO_MANY_REQUESTS', null, 0])
    assert.ok(Date.parse(body.meta.rate_limit.reset_at) > 0)
  }
  const stats = (await (
    await fetch(`${collector.url}/api/internal/rate_limit_stats`, { headers: authorized })
  ).json()) as { total_allowed: number; total_rejected: number; top_rejected_tokens: { token: string }[] }
  assert.deepEqual([stats.total_allowed, stats.total_rejected], [allowed, refused.length])
  assert.ok(!JSON.stringify(stats).includes('test-tok'), 'no part of the token is shown')
  // Writes are never limited by it.
  const writes = await Promise.all(
    Array.from({ length: 60 }, () =>
      fetch(`${collector.url}/v1/metrics/batch`, {
        method: 'POST',
        body: '{"metrics":[]}',
        headers: { ...authorized, 'Content-Type': 'application/json' },
      }),
    ),
  )
  assert.ok(writes.every((r) => r.status === 200))
})
