/** The paths of quotas for /openapi.json; the answers are those of api.ts. */
import type { ApiPart, Json } from '../openapi/document.ts'
import { listOf, object, parameter, ref, responses } from '../openapi/document.ts'
import { LEVELS } from './quota.ts'

const TEXT: Json = { type: 'string' }
const TEXT_OR_NULL: Json = { type: ['string', 'null'] }
const FLAG: Json = { type: 'boolean' }
const TIME: Json = { type: 'string', format: 'date-time' }
const TIME_OR_NULL: Json = { type: ['string', 'null'], format: 'date-time' }
const DECIMAL: Json = { type: 'string', description: 'A decimal number.', pattern: '^-?\\d+(\\.\\d+)?$' }
const DECIMAL_OR_NULL: Json = { ...DECIMAL, type: ['string', 'null'] }
const IDS: Json = { type: 'array', items: { type: 'string' }, description: 'Ids of quotas.' }
const AMOUNTS: Json = { type: 'object', additionalProperties: DECIMAL }
const AMOUNTS_IN: Json = {
  type: 'object',
  description: 'By resource, in the unit of its name; not negative.',
  additionalProperties: { anyOf: [{ type: 'number', minimum: 0 }, DECIMAL] },
  minProperties: 1,
  maxProperties: 16,
}
const DECIDED_BY: Json = { type: 'string', description: '`aggregator`, or `collector NAME`: by what was lent to it.' }
const REASON: Json = { type: 'string', minLength: 1, maxLength: 256 }
const NAME: Json = { type: ['string', 'null'], minLength: 1, maxLength: 256 }
const SECONDS: Json = { type: 'integer', minimum: 1 }

const FIGURE: Json = object({
  quota: { type: 'string', format: 'uuid' },
  level: { enum: LEVELS },
  subject: TEXT,
  resource: TEXT,
  window: { enum: ['day', 'week', 'month', 'rolling', 'lifetime'] },
  limit: DECIMAL,
  used: { ...DECIMAL_OR_NULL, description: 'Null: it could not be counted.' },
  held: { ...DECIMAL, description: 'Reserved and not settled.' },
  leased: { ...DECIMAL, description: 'Lent to collectors, which decide by it.' },
  in_doubt: { ...DECIMAL, description: 'Of what is lent: to collectors that nobody hears of.' },
  left: DECIMAL_OR_NULL,
  period_from: TIME_OR_NULL,
  resets_at: { ...TIME_OR_NULL, description: 'When time gives something back; null: never.' },
  enforcement: { enum: ['hard', 'soft'] },
  shadow: FLAG,
  state: { enum: ['ok', 'near', 'over', 'unknown'] },
})

const GRANTED = {
  granted: { const: true },
  over: { ...IDS, description: 'Soft quotas that it does not fit.' },
  shadow: { ...IDS, description: 'Shadow quotas that it does not fit.' },
  unknown: { ...IDS, description: 'Quotas that let pass since what was used could not be counted.' },
  degraded: FLAG,
  quotas: { ...listOf(ref('QuotaFigure')), description: 'Of a decision of a collector none.' },
  decided_by: DECIDED_BY,
  as_of: TIME,
}

const RESERVATION = {
  id: TEXT,
  state: { enum: ['open', 'committed', 'released', 'expired'] },
  user_id: TEXT_OR_NULL,
  project: TEXT_OR_NULL,
  department: TEXT_OR_NULL,
  task_id: TEXT_OR_NULL,
  attempt: { type: ['integer', 'null'] },
  amounts: AMOUNTS,
  committed: { ...AMOUNTS, type: ['object', 'null'] },
  reserved_at: TIME,
  expires_at: TIME,
  closed_at: TIME_OR_NULL,
  late: { ...FLAG, description: 'Committed after it had expired.' },
  overrun: { ...FLAG, description: 'More was committed than was reserved.' },
}

const DEMAND = { user_id: NAME, project: NAME, department: NAME, amounts: AMOUNTS_IN }
const ID: Json = { name: 'id', in: 'path', required: true, schema: TEXT }
const TENANT = parameter('tenant')
const KEY: Json = {
  name: 'Idempotency-Key',
  in: 'header',
  schema: TEXT,
  description: 'The id, where the body has none.',
}
const REFUSED: Json = {
  description: 'It does not fit. Retry-After where waiting helps.',
  headers: {
    'RateLimit-Policy': { schema: TEXT, description: 'The quotas, by id: q, qu, w.' },
    RateLimit: { schema: TEXT, description: 'What is left of them: r, t.' },
    'Retry-After': { schema: { type: 'integer' } },
  },
  content: { 'application/problem+json': { schema: ref('QuotaProblem') } },
}

export const quotaApi: ApiPart = {
  paths: {
    '/v1/subjects/{level}/{id}/quotas': {
      get: {
        summary: 'How a user, project, department or tenant stands with its quotas',
        parameters: [TENANT, { name: 'level', in: 'path', required: true, schema: { enum: LEVELS } }, ID],
        responses: responses(200, 'Its quotas', ref('SubjectQuotas')),
      },
    },
    '/v1/subjects/{level}/{id}/reservations': {
      get: {
        summary: 'What is set aside for a user, project, department or tenant: open reservations, the oldest first',
        parameters: [
          TENANT,
          { name: 'level', in: 'path', required: true, schema: { enum: LEVELS } },
          ID,
          parameter('limit'),
          parameter('cursor'),
        ],
        responses: responses(200, 'A page of them', ref('SubjectReservations')),
      },
    },
    '/v1/quota/check': {
      post: {
        summary: 'Whether it would fit the quotas of every level; sets nothing aside',
        parameters: [TENANT],
        requestBody: body(ref('QuotaDemand')),
        responses: { ...responses(200, 'It would', ref('QuotaGranted')), 429: REFUSED },
      },
    },
    '/v1/quota/reservations': {
      post: {
        summary: 'Sets amounts aside for a time, at every level, all or nothing',
        parameters: [TENANT, KEY],
        requestBody: body(ref('ReservationInput')),
        responses: {
          ...responses(201, 'It is set aside', ref('ReservationGranted')),
          200: { description: 'It was before', content: { 'application/json': { schema: ref('ReservationGranted') } } },
          429: REFUSED,
        },
      },
    },
    '/v1/quota/reservations/{id}': {
      get: {
        summary: 'A reservation',
        parameters: [TENANT, ID],
        responses: responses(200, 'The reservation', ref('Reservation')),
      },
    },
    '/v1/quota/reservations/{id}/commit': settle(
      'What was used; what was reserved beyond it is free again. After it has expired it is charged all the same',
      { type: 'object', additionalProperties: false, properties: { amounts: AMOUNTS_IN } },
    ),
    '/v1/quota/reservations/{id}/release': settle('Nothing was used: it is free again'),
    '/v1/quota/reservations/{id}/extend': settle('It is set aside until so many seconds from now', {
      type: 'object',
      additionalProperties: false,
      required: ['expires_in_seconds'],
      properties: { expires_in_seconds: SECONDS },
    }),
    '/v1/quota/leases': {
      get: {
        summary: 'Slices that collectors hold, the oldest first',
        parameters: [TENANT, parameter('limit'), parameter('cursor')],
        responses: responses(200, 'A page of them', ref('QuotaLeases')),
      },
    },
    '/v1/quota/leases/{lease}/write_off': endLease(
      'The collector of a slice in doubt is lost with its disk: what is left of it counts as used',
    ),
    '/v1/quota/leases/{lease}/release': endLease(
      'Nobody will use a slice in doubt any more: what is left of it is free again',
    ),
    '/v1/quota/adjustments': {
      post: {
        summary:
          'More or less was used than was counted: once for each id, with a reason; of those that are named, and the tenant',
        parameters: [TENANT, KEY],
        requestBody: body(ref('AdjustmentInput')),
        responses: {
          ...responses(201, 'It is counted', ref('Adjustment')),
          200: { description: 'It was before', content: { 'application/json': { schema: ref('Adjustment') } } },
        },
      },
    },
  },
  schemas: {
    QuotaFigure: FIGURE,
    SubjectQuotas: object({
      level: { enum: LEVELS },
      subject: TEXT,
      data: listOf(ref('QuotaFigure')),
      degraded: FLAG,
      as_of: TIME,
    }),
    QuotaLease: object({
      lease: { type: 'integer' },
      collector: TEXT,
      state: { enum: ['lent', 'in_doubt'] },
      user_id: TEXT_OR_NULL,
      project: TEXT_OR_NULL,
      department: TEXT_OR_NULL,
      granted: AMOUNTS,
      left: { ...AMOUNTS, description: 'What of it is no reservation.' },
      lent_at: TIME,
      heard_of_seconds_ago: { type: ['number', 'null'], description: 'Null: not since the aggregator started.' },
    }),
    QuotaLeases: object({ data: listOf(ref('QuotaLease')), next_cursor: TEXT_OR_NULL, as_of: TIME }),
    SubjectReservations: object({
      level: { enum: LEVELS },
      subject: TEXT,
      data: listOf(ref('OpenReservation')),
      next_cursor: TEXT_OR_NULL,
      as_of: TIME,
    }),
    QuotaGranted: object(GRANTED),
    Reservation: object(RESERVATION),
    OpenReservation: object({
      ...RESERVATION,
      held: { ...AMOUNTS, description: 'What of it is held still: what was counted for its task already is not.' },
    }),
    ReservationGranted: object({ ...RESERVATION, ...GRANTED }),
    QuotaDemand: { type: 'object', additionalProperties: false, required: ['amounts'], properties: DEMAND },
    ReservationInput: {
      type: 'object',
      additionalProperties: false,
      required: ['amounts'],
      properties: {
        id: { type: 'string', pattern: '^[A-Za-z0-9._:@-]{1,200}$' },
        ...DEMAND,
        task_id: NAME,
        attempt: { type: ['integer', 'null'], minimum: 1 },
        expires_in_seconds: { ...SECONDS, default: 600 },
        issued_at: {
          ...TIME_OR_NULL,
          description: 'When it was asked first: one that is too old to be a retry is refused.',
        },
      },
    },
    AdjustmentInput: {
      type: 'object',
      additionalProperties: false,
      required: ['resource', 'amount', 'reason'],
      properties: {
        id: { type: 'string', pattern: '^[A-Za-z0-9._:@-]{1,200}$' },
        user_id: NAME,
        project: NAME,
        department: NAME,
        resource: TEXT,
        amount: { anyOf: [{ type: 'number' }, DECIMAL], description: 'May be negative.' },
        at: { ...TIME_OR_NULL, description: 'When it was used; absent: now.' },
        reason: REASON,
      },
    },
    Adjustment: object({
      id: TEXT,
      user_id: TEXT_OR_NULL,
      project: TEXT_OR_NULL,
      department: TEXT_OR_NULL,
      resource: TEXT,
      amount: DECIMAL,
      slot: TIME,
      reason: TEXT,
    }),
    QuotaProblem: {
      allOf: [
        ref('Problem'),
        object({
          refused_by: ref('QuotaFigure'),
          all_refused_by: listOf(ref('QuotaFigure')),
          what_to_do: TEXT,
          degraded: FLAG,
          decided_by: DECIDED_BY,
          as_of: TIME,
        }),
      ],
    },
  },
}

function body(schema: Json): Json {
  return { required: true, content: { 'application/json': { schema } } }
}

function settle(summary: string, schema?: Json): Json {
  return {
    post: {
      summary,
      parameters: [TENANT, ID],
      ...(schema === undefined ? {} : { requestBody: { content: { 'application/json': { schema } } } }),
      responses: responses(200, 'The reservation as it is now', ref('Reservation')),
    },
  }
}

function endLease(summary: string): Json {
  const schema = { type: 'object', additionalProperties: false, required: ['reason'], properties: { reason: REASON } }
  return {
    post: {
      summary,
      parameters: [TENANT, { name: 'lease', in: 'path', required: true, schema: { type: 'integer', minimum: 1 } }],
      requestBody: body(schema),
      responses: responses(200, 'It is held no more', object({ lease: { type: 'integer' }, state: TEXT })),
    },
  }
}
