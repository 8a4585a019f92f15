/** The collector's paths: its doors, its own state, and everything else passed on. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Handler } from '../../proto/runtime/http-server.ts'
import { pathOf, sendError } from '../../proto/runtime/http-server.ts'
import type { OwnState } from '../../proto/runtime/own-state.ts'
import type { DoorContext } from './doors.ts'
import { receiveMetricsBatch } from './metrics-batch.ts'
import type { PassThrough } from './pass-through.ts'
import { receiveRemoteWrite } from './remote-write.ts'

type Door = (context: DoorContext, request: IncomingMessage, response: ServerResponse) => Promise<void>

const DOORS: ReadonlyMap<string, Door> = new Map([
  ['/api/v1/write', receiveRemoteWrite],
  ['/v1/metrics/batch', receiveMetricsBatch],
])

export function collectorRoutes(context: DoorContext, own: OwnState, passThrough: PassThrough): Handler {
  return async (request, response) => {
    const path = pathOf(request)
    const door = DOORS.get(path)
    if (door === undefined)
      await (own.serves(path) ? own.handle(path, request, response) : passThrough.handle(request, response))
    else if (request.method === 'POST') await door(context, request, response)
    else {
      request.resume()
      sendError(response, 405, 'BAD_REQUEST', `${request.method} is not allowed on ${path}: expected POST`, {
        Allow: 'POST',
      })
    }
  }
}
