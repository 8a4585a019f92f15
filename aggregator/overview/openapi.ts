/** The paths of the overview for /openapi.json; the answers are those of api.ts. */
import type { ApiPart, Json } from '../openapi/document.ts'
import { listOf, object, parameter, ref, responses } from '../openapi/document.ts'

const TEXT: Json = { type: 'string' }
const COUNT: Json = { type: 'integer' }
const NUMBER_OR_NULL: Json = { type: ['number', 'null'] }
const TIME: Json = { type: 'string', format: 'date-time' }
const TIME_OR_NULL: Json = { type: ['string', 'null'], format: 'date-time' }
const CURSOR: Json = { type: ['string', 'null'] }
const PAGE: readonly Json[] = [parameter('tenant'), parameter('limit'), parameter('cursor')]

function get(summary: string, parameters: readonly Json[], schema: Json): Json {
  return { get: { summary, parameters, responses: responses(200, summary, schema) } }
}

function query(name: string, description: string, required = false): Json {
  return { name, in: 'query', required, description, schema: TEXT }
}

export const overviewApi: ApiPart = {
  paths: {
    '/v1/senders': get(
      'What arrives, from whom, how fresh, what was refused and why',
      PAGE,
      object({ data: listOf(ref('Sender')), next_cursor: CURSOR, as_of: TIME }),
    ),
    '/v1/hosts': get(
      'Hosts with their GPUs',
      PAGE,
      object({ data: listOf(ref('Host')), next_cursor: CURSOR, as_of: TIME }),
    ),
    '/v1/overview': get(
      'Senders, hosts and charts of the last minutes',
      [parameter('tenant'), query('host', 'Charts of this host only.')],
      ref('Overview'),
    ),
    '/v1/metric_names': get(
      'Names of metrics',
      [...PAGE, query('search', 'Words that are in the name.')],
      object({
        data: listOf(object({ name: TEXT, series: COUNT })),
        next_cursor: CURSOR,
        total: COUNT,
        warnings: listOf(TEXT),
      }),
    ),
    '/v1/metric_labels': get(
      'The labels of one metric, with values',
      [parameter('tenant'), query('name', 'Of the metric.', true)],
      object({
        name: TEXT,
        series: COUNT,
        metadata: { anyOf: [object({ type: TEXT, help: TEXT, unit: TEXT }), { type: 'null' }] },
        labels: listOf(
          object({ key: TEXT, values: listOf(object({ value: TEXT, series: COUNT })), values_total: COUNT }),
        ),
        warnings: listOf(TEXT),
      }),
    ),
  },
  schemas: {
    Refused: object({ reason: TEXT, count: COUNT }),
    Sender: object({
      tenant: TEXT,
      sender: TEXT,
      credential: TEXT,
      door: TEXT,
      collector: TEXT,
      instance: TEXT,
      samples_per_second: NUMBER_OR_NULL,
      samples_received: { type: 'number' },
      samples_refused: listOf(ref('Refused')),
      requests_refused: listOf(ref('Refused')),
      last_seen: TIME_OR_NULL,
      reported_at: TIME,
    }),
    Host: object({
      host: TEXT,
      last_seen: TIME,
      cpu_used_ratio: NUMBER_OR_NULL,
      processors: NUMBER_OR_NULL,
      load1: NUMBER_OR_NULL,
      memory_used_bytes: NUMBER_OR_NULL,
      memory_total_bytes: NUMBER_OR_NULL,
      gpus: listOf(
        object({
          gpu: TEXT,
          uuid: TEXT,
          model: TEXT,
          last_seen: TIME,
          utilization_ratio: NUMBER_OR_NULL,
          memory_used_bytes: NUMBER_OR_NULL,
          memory_total_bytes: NUMBER_OR_NULL,
          power_watts: NUMBER_OR_NULL,
          temperature_celsius: NUMBER_OR_NULL,
        }),
      ),
    }),
    Chart: object({
      of: COUNT,
      summary: { type: 'boolean' },
      lines: listOf(object({ name: TEXT, values: listOf(NUMBER_OR_NULL) })),
    }),
    Overview: object({
      as_of: TIME,
      tenant: TEXT,
      all_tenants: { type: 'boolean' },
      totals: object({
        samples_per_second: NUMBER_OR_NULL,
        samples_refused: { type: 'number' },
        requests_refused: { type: 'number' },
        senders: COUNT,
        hosts: COUNT,
        gpus: COUNT,
        series: COUNT,
      }),
      senders: listOf(ref('Sender')),
      hosts: listOf(ref('Host')),
      charts: object({
        start: TIME,
        step_seconds: { type: 'number' },
        samples_per_second: ref('Chart'),
        cpu_used_ratio: ref('Chart'),
        memory_used_ratio: ref('Chart'),
        gpu_utilization_ratio: ref('Chart'),
        gpu_power_watts: ref('Chart'),
      }),
    }),
  },
}
