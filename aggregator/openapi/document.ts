/**
 * `GET /openapi.json`: what our own API offers, OpenAPI 3.1. Each part of the API describes its paths beside its routes; here they are
 * put together. A test compares them with the routes that there are, and answers with their schemas.
 * @see https://spec.openapis.org/oas/v3.1.0
 */

/** Of a JSON Schema, or anything else that goes into the document as it stands. */
export type Json = Readonly<Record<string, unknown>>

/** What a part of the API adds. */
export interface ApiPart {
  /** By path, such as /v1/prices/{id}: operations by method, lower case. */
  readonly paths: Readonly<Record<string, Json>>
  readonly schemas: Readonly<Record<string, Json>>
}

const PROBLEM: Json = {
  description: 'RFC 9457; `code` is stable.',
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code'],
  properties: {
    type: { const: 'about:blank' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
    errors: {
      description: 'The parameters or fields at fault, of a file with their lines; the first thousand.',
      type: 'array',
      items: {
        type: 'object',
        required: ['field', 'message'],
        properties: { line: { type: 'integer' }, field: { type: 'string' }, message: { type: 'string' } },
      },
    },
  },
}

export function openApiDocument(parts: readonly ApiPart[]): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'fleetmeter',
      version: '1',
      description:
        'Telemetry for GPU fleets. The tenant of a request is that of its token, or the one among those of the key that X-Scope-OrgID names.',
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths: Object.assign({}, ...parts.map(({ paths }) => paths)) as Json,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      parameters: {
        limit: {
          name: 'limit',
          in: 'query',
          schema: { type: 'integer', minimum: 1, default: 100 },
          description: 'At most 1,000.',
        },
        cursor: {
          name: 'cursor',
          in: 'query',
          schema: { type: 'string' },
          description: 'next_cursor of the page before.',
        },
        tenant: {
          name: 'X-Scope-OrgID',
          in: 'header',
          schema: { type: 'string' },
          description: 'Another tenant of the key.',
        },
      },
      responses: {
        problem: {
          description: 'What is wrong, and what to do.',
          content: { 'application/problem+json': { schema: ref('Problem') } },
        },
      },
      schemas: Object.assign({ Problem: PROBLEM }, ...parts.map(({ schemas }) => schemas)) as Json,
    },
  }
}

export function ref(schema: string): Json {
  return { $ref: `#/components/schemas/${schema}` }
}

export function parameter(name: 'limit' | 'cursor' | 'tenant'): Json {
  return { $ref: `#/components/parameters/${name}` }
}

/** Of an operation: what it answers when it goes well, and a problem for everything else. */
export function responses(status: number, description: string, schema: Json, more: Json = {}): Json {
  return {
    [status]: { description, content: { 'application/json': { schema } }, ...more },
    default: { $ref: '#/components/responses/problem' },
  }
}

export function object(properties: Readonly<Record<string, unknown>>): Json {
  return { type: 'object', required: Object.keys(properties), properties }
}

export function listOf(schema: Json): Json {
  return { type: 'array', items: schema }
}
