/** /openapi.json names every path and method of our own API that there is a route for, and no other. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Validator } from '@seriousme/openapi-schema-validator'
import { Hono } from 'hono'
import { directoryApi } from '../../../aggregator/directory/openapi.ts'
import type { DirectoryRoutesOptions } from '../../../aggregator/directory/routes.ts'
import { DIRECTORIES, directoryRoutes } from '../../../aggregator/directory/routes.ts'
import type { EventRoutesOptions } from '../../../aggregator/events/event-routes.ts'
import { addEventRoutes } from '../../../aggregator/events/event-routes.ts'
import { eventApi } from '../../../aggregator/events/openapi.ts'
import { openApiDocument } from '../../../aggregator/openapi/document.ts'
import { overviewApi } from '../../../aggregator/overview/openapi.ts'
import type { OverviewOptions } from '../../../aggregator/overview/routes.ts'
import { addOverviewRoutes } from '../../../aggregator/overview/routes.ts'
import { taskApi } from '../../../aggregator/tasks/openapi.ts'
import type { TaskRoutesOptions } from '../../../aggregator/tasks/task-routes.ts'
import { addTaskRoutes } from '../../../aggregator/tasks/task-routes.ts'

test('openApiDocument() is OpenAPI 3.1 and has the paths and methods of the routes', async () => {
  const document = openApiDocument([overviewApi, directoryApi(DIRECTORIES), eventApi, taskApi])
  const { valid, errors } = await new Validator().validate({ ...document })
  assert.ok(valid, JSON.stringify(errors))

  const app = new Hono()
  // No route is asked: nothing is read of what they need.
  addOverviewRoutes(app, {} as OverviewOptions, [], () => ({ tenant: '', admin: false }))
  addEventRoutes(app, {} as EventRoutesOptions, [], () => '')
  addTaskRoutes(app, {} as TaskRoutesOptions, [], () => ({ tenant: '', admin: false }))
  app.route('/', directoryRoutes({} as DirectoryRoutesOptions))
  const routed = app.routes
    .filter(({ method, path }) => method !== 'ALL' && path.startsWith('/v1/'))
    .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/, '{$1}')}`)
  const described = Object.entries(document['paths'] as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  )
  assert.deepEqual([...new Set(routed)].sort(), described.sort())
})
