/** The paths of tasks and usage for /openapi.json; the answers are those of task-answers.ts. */
import type { ApiPart, Json } from '../openapi/document.ts'
import { listOf, object, parameter, ref, responses } from '../openapi/document.ts'
import { NODE_USAGE_FILTERS, NODE_USAGE_GROUPS } from './node-usage-filter.ts'
import { USAGE_GROUPS } from './usage-filter.ts'

const TEXT: Json = { type: 'string' }
const TEXT_OR_NULL: Json = { type: ['string', 'null'] }
const COUNT: Json = { type: 'integer' }
const COUNT_OR_NULL: Json = { type: ['integer', 'null'] }
const NUMBER: Json = { type: 'number' }
const NUMBER_OR_NULL: Json = { type: ['number', 'null'] }
const FLAG: Json = { type: 'boolean' }
const FLAG_OR_NULL: Json = { type: ['boolean', 'null'] }
const TIME: Json = { type: 'string', format: 'date-time' }
const TIME_OR_NULL: Json = { type: ['string', 'null'], format: 'date-time' }
const TEXTS: Json = { type: 'object', additionalProperties: TEXT }
const DECIMAL: Json = { type: 'string', description: 'A decimal number.', pattern: '^-?\\d+(\\.\\d+)?$' }
const MICROS: Json = { type: ['integer', 'null'], description: 'Millionths of the currency.' }
const CONFIDENCE: Json = { enum: ['full', 'low'] }
const orNull = (schema: Json): Json => ({ anyOf: [schema, { type: 'null' }] })

const query = (name: string, schema: Json, description = 'Exactly; empty: those that do not say it.'): Json => ({
  name,
  in: 'query',
  description,
  schema,
})
const PAGE: readonly Json[] = [parameter('tenant'), parameter('limit'), parameter('cursor')]
const STATE: Json = { enum: ['queued', 'loading', 'running', 'completed', 'failed', 'cancelled', 'lost'] }

function csvToo(description: string, schema: Json): Json {
  return {
    200: { description, content: { 'application/json': { schema }, 'text/csv': { schema: TEXT } } },
    default: { $ref: '#/components/responses/problem' },
  }
}

const TASK: Readonly<Record<string, Json>> = {
  task_id: TEXT,
  attempt: COUNT,
  state: STATE,
  provisional: FLAG,
  user_id: TEXT_OR_NULL,
  project: TEXT_OR_NULL,
  department: TEXT_OR_NULL,
  node_id: TEXT_OR_NULL,
  model: TEXT_OR_NULL,
  queued_at: TIME_OR_NULL,
  started_at: TIME_OR_NULL,
  ended_at: TIME_OR_NULL,
  duration_seconds: NUMBER_OR_NULL,
  result: FLAG_OR_NULL,
  error_category: TEXT_OR_NULL,
  gpu_held_seconds: NUMBER_OR_NULL,
  gpu_busy_seconds: NUMBER_OR_NULL,
  cpu_core_seconds: NUMBER_OR_NULL,
  energy_wh: NUMBER_OR_NULL,
  cost_micros: MICROS,
  currency: TEXT_OR_NULL,
  updated_at: TIME,
}
const SLOT = { resource: TEXT, unit: TEXT, from: TIME, to: TIME, amount: DECIMAL }
const QUANTITIES = [
  'gpu_held_seconds',
  'gpu_busy_seconds',
  'gpu_idle_ratio',
  'gpu_memory_peak_bytes',
  'energy_wh',
  'cpu_core_seconds',
  'memory_peak_bytes',
  'disk_bytes',
  'network_bytes',
  'tokens_in',
  'tokens_out',
  'load_seconds',
  'queue_seconds',
]

const RATIO: Json = { type: 'number', minimum: 0, maximum: 1 }
const NODE_SUMS: Readonly<Record<string, Json>> = {
  gpus: COUNT,
  delivered_gpu_seconds: DECIMAL,
  attributed_gpu_seconds: DECIMAL,
  idle_gpu_seconds: DECIMAL,
  unmeasured_gpu_seconds: DECIMAL,
  idle_ratio: orNull(RATIO),
  coverage: RATIO,
  delivered_cost_micros: MICROS,
  attributed_cost_micros: MICROS,
  idle_cost_micros: MICROS,
  currency: TEXT_OR_NULL,
}

const ATTEMPT: Json = object({
  ...TASK,
  version: COUNT,
  vm_type: TEXT_OR_NULL,
  gpu_model: TEXT_OR_NULL,
  url: TEXT_OR_NULL,
  namespace: TEXT_OR_NULL,
  pod: TEXT_OR_NULL,
  resource_id: TEXT_OR_NULL,
  tags: TEXTS,
  attribution: object({
    project_from: TEXT,
    department_from: TEXT,
    membership_id: TEXT_OR_NULL,
    chosen: TEXT_OR_NULL,
    environment: TEXT_OR_NULL,
    cost_center: TEXT_OR_NULL,
  }),
  samples_of: { enum: ['tenant', 'operator', 'none'] },
  stages: listOf(
    object({ stage: TEXT, from: TIME_OR_NULL, to: TIME_OR_NULL, seconds: NUMBER_OR_NULL, ok: FLAG_OR_NULL }),
  ),
  window: orNull(object({ from: TIME, to: TIME, seconds: NUMBER, open: FLAG })),
  quantities: object(Object.fromEntries(QUANTITIES.map((name) => [name, ref('TaskQuantity')]))),
  gpus: listOf(object({ gpu: TEXT, figures: listOf(ref('TaskFigure')) })),
  node_figures: listOf(ref('TaskFigure')),
  usage: listOf(object({ ...SLOT, cost_micros: MICROS, currency: TEXT_OR_NULL })),
  cost: object({
    micros: MICROS,
    currency: TEXT_OR_NULL,
    reason: TEXT_OR_NULL,
    why: TEXT,
    lines: listOf(object({ phase: TEXT, ...SLOT, cost_micros: COUNT, price_ids: listOf(TEXT) })),
  }),
  error: orNull(
    object({
      category: TEXT,
      type: TEXT,
      text: TEXT,
      matched: orNull(object({ from: COUNT, to: COUNT, words: TEXT })),
      rule: TEXT,
      version: TEXT,
      retry: TEXT,
      chargeable_to: TEXT,
      evidence: listOf(object({ kind: TEXT, text: TEXT })),
    }),
  ),
  assumptions: listOf(object({ flag: TEXT, sentence: TEXT })),
  event_ids: listOf(TEXT),
  charts: listOf(
    object({
      name: TEXT,
      gpu: TEXT_OR_NULL,
      metric: TEXT,
      series: listOf(object({ labels: TEXTS, selector: TEXT })),
      counter: FLAG,
      scale: NUMBER,
      unit: TEXT,
      from: TIME,
      to: TIME,
    }),
  ),
})

export const taskApi: ApiPart = {
  paths: {
    '/v1/tasks': {
      get: {
        summary: 'Attempts of tasks, the one that began last first',
        parameters: [
          ...PAGE,
          ...['user_id', 'project', 'department', 'model'].map((name) => query(name, TEXT)),
          query(
            'node',
            TEXT,
            'Any of the names of its machine, in upper or lower case; empty: those that do not say it.',
          ),
          query('state', STATE, 'Which state it is in.'),
          query('open', FLAG, 'true: it has not ended.'),
          query('result', FLAG, 'What its end said.'),
          query('error_category', TEXT, 'A category, or the beginning of some: `resource.*`.'),
          query('from', TIME, 'It had not ended before.'),
          query('to', TIME, 'It had begun before.'),
        ],
        responses: csvToo(
          'A page; of CSV the next one is named in `Link`.',
          object({ data: listOf(ref('Task')), next_cursor: TEXT_OR_NULL }),
        ),
      },
    },
    '/v1/tasks/{task_id}': {
      get: {
        summary: 'All attempts of a task: figures, usage, cost, error, what was assumed',
        parameters: [parameter('tenant'), { name: 'task_id', in: 'path', required: true, schema: TEXT }],
        responses: responses(200, 'The task', ref('TaskDetail')),
      },
    },
    '/v1/usage': {
      get: {
        summary: 'What was used and what it cost, by any grouping and period',
        parameters: [
          ...PAGE,
          query('group_by', TEXT, `Some of ${USAGE_GROUPS.join(', ')}, with commas; tenant: for the admin token.`),
          query('from', TIME, 'Down to the quarter of an hour; without it since the beginning of the month, UTC.'),
          query('to', TIME, 'Up to the quarter of an hour; without it now.'),
          ...['user_id', 'project', 'department', 'resource'].map((name) => query(name, TEXT)),
          query('format', { enum: ['json', 'csv', 'focus'] }, 'focus: CSV with the columns of FOCUS.'),
        ],
        responses: csvToo('Sums; amounts of different resources are never added up.', ref('Usage')),
      },
    },
    '/v1/usage/nodes': {
      get: {
        summary: 'What GPUs delivered, what tasks had of it, what was idle and what that cost',
        parameters: [
          ...PAGE,
          query('group_by', TEXT, `Some of ${NODE_USAGE_GROUPS.join(', ')}, with commas; with gpu there is node.`),
          query('from', TIME, 'Down to the quarter of an hour; without it since the beginning of the month, UTC.'),
          query('to', TIME, 'Up to the quarter of an hour, at most 400 days later; without it now.'),
          query('node', TEXT, 'Any of the names of its machine, in upper or lower case.'),
          ...NODE_USAGE_FILTERS.filter((name) => name !== 'node').map((name) => query(name, TEXT)),
          query('format', { enum: ['json', 'csv'] }, 'As `Accept` does.'),
        ],
        responses: csvToo('Sums: attributed + idle = delivered + unmeasured, exactly.', ref('NodeUsage')),
      },
    },
  },
  schemas: {
    Task: object(TASK),
    TaskDetail: object({ task_id: TEXT, attempts: listOf(ATTEMPT), as_of: TIME }),
    TaskQuantity: object({
      value: NUMBER_OR_NULL,
      coverage: NUMBER,
      method: TEXT,
      samples: COUNT_OR_NULL,
      confidence: CONFIDENCE,
    }),
    TaskFigure: object({
      name: TEXT,
      unit: TEXT,
      mean: NUMBER_OR_NULL,
      min: NUMBER_OR_NULL,
      max: NUMBER_OR_NULL,
      p95: NUMBER_OR_NULL,
      last: NUMBER_OR_NULL,
      integral: NUMBER_OR_NULL,
      integral_unit: TEXT,
      coverage: NUMBER,
      method: TEXT,
      samples: COUNT,
      confidence: CONFIDENCE,
    }),
    NodeUsage: object({
      from: TIME,
      to: TIME,
      as_of: TIME,
      group_by: listOf({ enum: [...NODE_USAGE_GROUPS] }),
      data: listOf({
        type: 'object',
        required: Object.keys(NODE_SUMS),
        properties: { node_id: TEXT, gpu: TEXT, gpu_model: TEXT, vm_type: TEXT, period: TIME, ...NODE_SUMS },
      }),
      next_cursor: TEXT_OR_NULL,
      totals: listOf(object(NODE_SUMS)),
      method: { enum: ['samples', 'hourly_figures', 'hourly_figures, samples'] },
      warnings: listOf(TEXT),
    }),
    Usage: object({
      from: TIME,
      to: TIME,
      group_by: listOf({ enum: [...USAGE_GROUPS] }),
      data: listOf({
        type: 'object',
        required: ['resource', 'unit', 'amount', 'tasks', 'cost_micros', 'currency'],
        properties: {
          tenant: TEXT,
          user_id: TEXT,
          project: TEXT,
          department: TEXT,
          model: TEXT,
          node_id: TEXT,
          period: TIME,
          resource: TEXT,
          unit: TEXT,
          amount: DECIMAL,
          tasks: COUNT,
          cost_micros: MICROS,
          currency: TEXT_OR_NULL,
        },
      }),
      next_cursor: TEXT_OR_NULL,
      totals: listOf(
        object({
          resource: TEXT,
          unit: TEXT,
          amount: DECIMAL,
          unattributed_amount: DECIMAL,
          cost_micros: MICROS,
          currency: TEXT_OR_NULL,
        }),
      ),
    }),
  },
}
