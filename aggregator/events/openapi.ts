/** The paths of events for /openapi.json. */
import type { ApiPart, Json } from '../openapi/document.ts'
import { listOf, object, parameter, ref, responses } from '../openapi/document.ts'

const TEXT: Json = { type: 'string' }
const TIME: Json = { type: 'string', format: 'date-time' }
const PERIOD: readonly Json[] = ['from', 'to'].map((name) => ({ name, in: 'query', schema: TIME }))
const PAGE: readonly Json[] = [parameter('tenant'), parameter('limit'), parameter('cursor'), ...PERIOD]

function list(summary: string, parameters: readonly Json[], schema: string): Json {
  return {
    get: {
      summary,
      parameters,
      responses: {
        200: {
          description: 'A page; of CSV the next one is named in `Link`.',
          content: {
            'application/json': {
              schema: object({ data: listOf(ref(schema)), next_cursor: { type: ['string', 'null'] } }),
            },
            'text/csv': { schema: TEXT },
          },
        },
        default: { $ref: '#/components/responses/problem' },
      },
    },
  }
}

const filter = (name: string, description: string): Json => ({ name, in: 'query', description, schema: TEXT })

export const eventApi: ApiPart = {
  paths: {
    '/v1/events': list(
      'Events, newest first',
      [
        ...PAGE,
        filter('type', 'A type, or `family.*`.'),
        ...['task_id', 'user_id', 'node_id', 'source', 'topic'].map((name) => filter(name, 'Exactly.')),
      ],
      'StoredEvent',
    ),
    '/v1/events/{event_id}': {
      get: {
        summary: 'One event',
        parameters: [
          parameter('tenant'),
          { name: 'event_id', in: 'path', required: true, schema: { type: 'string', format: 'uuid' } },
        ],
        responses: responses(200, 'The event', ref('StoredEvent')),
      },
    },
    '/v1/dead_letters': list(
      'What could not be read as an event, newest first',
      [...PAGE, filter('topic', 'Exactly.')],
      'DeadLetter',
    ),
  },
  schemas: {
    StoredEvent: object({ received_at: TIME, road: TEXT, topic: TEXT, event: { type: 'object' } }),
    DeadLetter: object({
      id: { type: 'string', format: 'uuid' },
      received_at: TIME,
      road: TEXT,
      topic: TEXT,
      code: TEXT,
      reason: TEXT,
      raw: { type: 'string', contentEncoding: 'base64' },
    }),
  },
}
