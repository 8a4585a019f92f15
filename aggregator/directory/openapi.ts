/** The paths of the directories for /openapi.json, made from their fields. */
import type { ApiPart, Json } from '../openapi/document.ts'
import { listOf, object, parameter, ref, responses } from '../openapi/document.ts'
import type { Directory } from './entry.ts'
import type { Field } from './fields.ts'
import { schemaOf } from './fields.ts'

const ETAG: Json = { headers: { ETag: { schema: { type: 'string' }, description: 'Of this version.' } } }
const IF_MATCH: Json = {
  name: 'If-Match',
  in: 'header',
  required: true,
  schema: { type: 'string' },
  description: 'The ETag that was seen, or *.',
}
const IDEMPOTENCY_KEY: Json = {
  name: 'Idempotency-Key',
  in: 'header',
  schema: { type: 'string', maxLength: 128 },
  description: 'Sent again with it within a day, the request is answered the same and done once.',
}
const ID: Json = { name: 'id', in: 'path', required: true, schema: { type: 'string', format: 'uuid' } }
const AT: Json = { name: 'at', in: 'query', schema: { type: 'string', format: 'date-time' } }
const DRY_RUN: Json = {
  name: 'dry_run',
  in: 'query',
  schema: { type: 'boolean', default: false },
  description: 'Of a file: what it would do.',
}

export function directoryApi(directories: readonly Directory[]): ApiPart {
  const schemas: Record<string, Json> = {
    Import: object({
      dry_run: { type: 'boolean' },
      created: { type: 'integer' },
      replaced: { type: 'integer' },
      unchanged: { type: 'integer' },
    }),
  }
  const paths: Record<string, Json> = {}
  for (const directory of directories) {
    const name = `${directory.kind[0]!.toUpperCase()}${directory.kind.slice(1)}`
    schemas[name] = entrySchema(directory)
    schemas[`${name}Input`] = inputSchema(directory.fields)
    paths[`/v1/${directory.plural}`] = listPath(directory, name)
    paths[`/v1/${directory.plural}/{id}`] = entryPath(directory, name)
  }
  return { paths, schemas }
}

function listPath({ plural, kind, filters }: Directory, name: string): Json {
  const narrowing = filters.map((filter) => ({ name: filter, in: 'query', schema: { type: 'string' } }))
  const page = object({ data: listOf(ref(name)), next_cursor: { type: ['string', 'null'] } })
  const csv = { schema: { type: 'string' } }
  return {
    get: {
      summary: `A list of ${plural}, in the order in which they were made`,
      parameters: [parameter('tenant'), parameter('limit'), parameter('cursor'), AT, ...narrowing],
      responses: {
        200: {
          description: 'A page; as CSV all of them.',
          content: { 'application/json': { schema: page }, 'text/csv': csv },
        },
        default: { $ref: '#/components/responses/problem' },
      },
    },
    post: {
      summary: `One more ${kind}, or a file of them, all or nothing`,
      parameters: [parameter('tenant'), IDEMPOTENCY_KEY, DRY_RUN],
      requestBody: {
        required: true,
        content: { 'application/json': { schema: ref(`${name}Input`) }, 'text/csv': csv },
      },
      responses: {
        ...responses(201, `The ${kind}`, ref(name), ETAG),
        200: { description: 'What the file did.', content: { 'application/json': { schema: ref('Import') } } },
      },
    },
  }
}

function entryPath({ kind, supersedes }: Directory, name: string): Json {
  const common = [parameter('tenant'), ID]
  const body = { required: true, content: { 'application/json': { schema: ref(`${name}Input`) } } }
  const put = [...common, IF_MATCH, IDEMPOTENCY_KEY]
  return {
    get: { summary: `One ${kind}`, parameters: common, responses: responses(200, `The ${kind}`, ref(name), ETAG) },
    put: {
      summary: supersedes ? `Another ${kind} in its place; the old one stays, superseded` : `Replaces the ${kind}`,
      parameters: put,
      requestBody: body,
      responses: responses(supersedes ? 201 : 200, `The ${kind}`, ref(name), ETAG),
    },
    delete: {
      summary: `The ${kind} ends, now or at a time`,
      parameters: [...put, AT],
      responses: responses(200, `The ${kind}`, ref(name), ETAG),
    },
  }
}

function inputSchema(fields: readonly Field[]): Json {
  return {
    type: 'object',
    additionalProperties: false,
    required: fields.filter(({ required }) => required).map(({ name }) => name),
    properties: Object.fromEntries(fields.map((field) => [field.name, schemaOf(field)])),
  }
}

function entrySchema({ fields, ownFields }: Directory): Json {
  return object({
    id: { type: 'string', format: 'uuid' },
    version: { type: 'integer', description: 'Of the change that it is from: its ETag.' },
    changed_at: { type: 'string', format: 'date-time' },
    ...Object.fromEntries([...fields, ...ownFields].map((field) => [field.name, schemaOf(field)])),
  })
}
