/** The collector's paths: its doors, quotas where it holds slices of them, its own state, and everything else passed on. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { pathOf, sendError } from '../../proto/runtime/http-answers.ts'
import type { Handler } from '../../proto/runtime/http-server.ts'
import type { OwnState } from '../../proto/runtime/own-state.ts'
import type { Door } from '../journal/record.ts'
import type { QuotaDoors } from '../leases/quota-doors.ts'
import type { DoorContext } from './doors.ts'
import { admitted } from './doors.ts'
import type { EventDoorContext } from './event-doors.ts'
import { EVENTS_PATH, receiveEvents } from './events.ts'
import type { HostSampling } from './host-sampling.ts'
import { HOST_SAMPLING_PATH } from './host-sampling.ts'
import { kafkaPath, receiveKafkaRest } from './kafka-rest.ts'
import { receiveMetricsBatch } from './metrics-batch.ts'
import type { PassThrough } from './pass-through.ts'
import { receiveRemoteWrite } from './remote-write.ts'

type Receive = (context: DoorContext, request: IncomingMessage, response: ServerResponse) => Promise<void>

interface Entrance {
  readonly door: Door
  readonly receive: Receive
  /** From some networks no token is needed. */
  readonly open: boolean
  readonly methods: readonly string[]
}

const REMOTE_WRITE: Entrance = { door: 'remote_write', receive: receiveRemoteWrite, open: true, methods: ['POST'] }
/** Where Primus Lens takes remote write, from any sender's configuration that still points there. */
const LENS: Entrance = { ...REMOTE_WRITE, methods: ['POST', 'PUT'] }

const ENTRANCES: ReadonlyMap<string, Entrance> = new Map([
  ['/api/v1/write', REMOTE_WRITE],
  ['/v1/prometheus', LENS],
  ['/prometheus', LENS],
  ['/v1/metrics/batch', { door: 'metrics_batch', receive: receiveMetricsBatch, open: false, methods: ['POST'] }],
])

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD'])

export function collectorRoutes(
  context: EventDoorContext,
  own: OwnState,
  sampling: HostSampling,
  passThrough: PassThrough,
  quotas: QuotaDoors | undefined,
): Handler {
  return (request, response) => {
    const path = pathOf(request)
    if (quotas?.serves(path) === true) return quotas.handle(path, request, response)
    if (path === HOST_SAMPLING_PATH) return sampling.handle(request, response)
    // To ask for events is the aggregator's.
    if (path === EVENTS_PATH && !READS.has(request.method ?? '')) return receiveEvents(context, request, response)
    const entrance = ENTRANCES.get(path)
    const kafka = entrance === undefined ? kafkaPath(request, context.basePath) : undefined
    if (kafka !== undefined) return receiveKafkaRest(context, kafka, request, response)
    if (entrance === undefined)
      return own.serves(path) ? own.handle(path, request, response) : passThrough.handle(request, response)
    if (entrance.methods.includes(request.method ?? '')) return entrance.receive(context, request, response)
    if (admitted(context, entrance.door, entrance.open, request, response) !== undefined) {
      request.resume()
      const allowed = entrance.methods.join(', ')
      sendError(response, 405, 'BAD_REQUEST', `${request.method} is not allowed on ${path}: expected ${allowed}`, {
        Allow: allowed,
      })
    }
    return undefined
  }
}
