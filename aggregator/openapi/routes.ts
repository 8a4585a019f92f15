/** `GET /openapi.json`, for everybody: it says what there is, and nothing of what is in it. */
import { Hono } from 'hono'
import type { ApiPart } from './document.ts'
import { openApiDocument } from './document.ts'

export function openApiRoutes(parts: readonly ApiPart[]): Hono {
  const text = JSON.stringify(openApiDocument(parts))
  const app = new Hono()
  app.get('/openapi.json', (c) => c.body(text, 200, { 'Content-Type': 'application/json' }))
  app.all('/openapi.json', (c) =>
    c.json({ message: `${c.req.method} is not allowed on /openapi.json: expected GET`, code: 'BAD_REQUEST' }, 405, {
      Allow: 'GET, HEAD',
    }),
  )
  return app
}
