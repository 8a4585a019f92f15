/** The collector's paths: its doors, its own state, and everything else passed on. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Handler } from '../../proto/runtime/http-server.ts'
import { pathOf, sendError } from '../../proto/runtime/http-server.ts'
import type { OwnState } from '../../proto/runtime/own-state.ts'
import type { Door } from '../journal/record.ts'
import type { DoorContext } from './doors.ts'
import { admitted } from './doors.ts'
import { receiveMetricsBatch } from './metrics-batch.ts'
import type { PassThrough } from './pass-through.ts'
import { receiveRemoteWrite } from './remote-write.ts'

type Receive = (context: DoorContext, request: IncomingMessage, response: ServerResponse) => Promise<void>

/** `open`: from some networks no token is needed. */
const DOORS: ReadonlyMap<string, { readonly door: Door; readonly open: boolean; readonly receive: Receive }> = new Map([
  ['/api/v1/write', { door: 'remote_write', open: true, receive: receiveRemoteWrite }],
  ['/v1/metrics/batch', { door: 'metrics_batch', open: false, receive: receiveMetricsBatch }],
])

export function collectorRoutes(context: DoorContext, own: OwnState, passThrough: PassThrough): Handler {
  return async (request, response) => {
    const path = pathOf(request)
    const found = DOORS.get(path)
    if (found === undefined)
      await (own.serves(path) ? own.handle(path, request, response) : passThrough.handle(request, response))
    else if (request.method === 'POST') await found.receive(context, request, response)
    else if (admitted(context, found.door, found.open, request, response) !== undefined) {
      request.resume()
      sendError(response, 405, 'BAD_REQUEST', `${request.method} is not allowed on ${path}: expected POST`, {
        Allow: 'POST',
      })
    }
  }
}
