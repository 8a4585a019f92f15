/**
 * Which events there are: the topic of each type, its fields with their types, what must not be missing, what is personal. Data alone;
 * check.ts reads it.
 *
 * Required is what an event means nothing without. The others may be missing: evidence with a hole is still evidence. Types and
 * fields that are not here are taken as they are: a new producer must not wait for a release.
 */

/**
 * - `id` a UUID, or any text up to 128 characters
 * - `json` an object, or a text that holds one: both are kept as the object; other text is kept as it is
 * - `tags` an object of texts
 * - `any` whatever it is
 */
export type FieldType = 'string' | 'uuid' | 'id' | 'number' | 'bool' | 'time' | 'json' | 'object' | 'tags' | 'any'

export interface Field {
  readonly type: FieldType
  readonly required: boolean
  /** What is kept of it is a tenant's choice, see personal.ts. */
  readonly personal: boolean
}

export interface EventKind {
  readonly topic: string
  /** By name, the envelope's among them. */
  readonly fields: ReadonlyMap<string, Field>
  readonly required: readonly string[]
  /** It tells of the machine that it comes from: the collector there fills in what is missing. */
  readonly ofNode: boolean
}

/** What the seed's producers write, and how it is called. */
export const SPELLINGS: ReadonlyMap<string, string> = new Map([
  ['resource_Id', 'resource_id'],
  ['IP', 'ip'],
  ['prevision_event_id', 'previous_event_id'],
])

/** Types by other names. */
export const TYPE_NAMES: ReadonlyMap<string, string> = new Map([
  ['TaskCompleted', 'workflow.task.complete'],
  ['TaskFailed', 'workflow.task.fail'],
])

/** Personal wherever they stand, in types that nobody knows too. */
export const PERSONAL_FIELDS = ['prompt', 'user', 'ip', 'resource_url'] as const
export type PersonalField = (typeof PERSONAL_FIELDS)[number]

/** `name:type`, with `!` behind it where it is required. */
type Declared = `${string}:${FieldType}` | `${string}:${FieldType}!`

const ENVELOPE: readonly Declared[] = [
  'event_id:uuid',
  'event_type:string',
  'timestamp:time',
  'tenant_id:string',
  'user_id:id',
  'session_id:id',
  'source:string',
  'version:string',
  'metadata:object',
  'tags:tags',
]
const OF_NODE: readonly Declared[] = [
  'node_id:uuid',
  'vm_type:string',
  'host_name:string',
  'storage_size:number',
  'storage_type:string',
]
const ACCESS: readonly Declared[] = [
  'created:time',
  'user:json',
  'action:string!',
  'resource:json',
  'result:bool!',
  'service:string',
  'resource_id:uuid',
  'user_tenant_id:uuid',
  'resource_tenant_id:uuid',
]
const ASSET: readonly Declared[] = [
  'created:time',
  'resource_url:string!',
  'object_size:number',
  'result:bool!',
  'description:string',
  'ip:string',
]
const POLITICS: readonly Declared[] = [
  'created:time',
  'rule_id:uuid!',
  'rule_version:number',
  'politic_version:number',
  'description:string',
]
const CREDIT: readonly Declared[] = [
  'task_id:id',
  'node_id:uuid',
  'project:string',
  'department:string',
  'amount:number!',
  'quantity:number',
  'unit:string',
  'started:time',
  'ended:time',
]

export const CATALOGUE: ReadonlyMap<string, EventKind> = new Map([
  kind('xumi_load', 'xumi.weights.load.start', ['model:string!', 'url:string', ...OF_NODE]),
  kind('xumi_load', 'xumi.weights.load.complete', [
    'model:string!',
    'url:string',
    'origin_event_id:uuid',
    'result:bool!',
    'speed:number',
    'size:number',
    ...OF_NODE,
  ]),
  kind('xumi_task', 'xumi.generation.start', [
    'model:string!',
    'url:string',
    'created:time',
    'prompt:string',
    'speed:string',
    'task_id:uuid!',
    ...OF_NODE,
  ]),
  kind('xumi_task', 'xumi.generation.complete', [
    'model:string',
    'url:string',
    'created:time',
    'start_generation:time',
    'prompt:string',
    'speed:string',
    'result:bool!',
    'detail:string',
    'task_id:uuid!',
    ...OF_NODE,
  ]),
  kind('kubernetes', 'kuber.deploy.start', [...ACCESS, 'node_id:uuid', 'hardware:string', 'hardware_template_id:uuid']),
  kind('kubernetes', 'kuber.deploy.start.complete', [
    ...ACCESS,
    'node_id:uuid',
    'description:string',
    'hardware:string',
    'hardware_template_id:uuid',
    'previous_event_id:uuid',
  ]),
  kind('kubernetes', 'kuber.deploy.free', [...ACCESS, 'node_id:uuid', 'eval_ms:number']),
  kind('kubernetes', 'kuber.deploy.free.complete', [...ACCESS, 'node_id:uuid', 'eval_ms:number']),
  kind('kubernetes', 'workflow.process.create', [
    'created:time',
    'node_id:uuid',
    'result:bool',
    'service:string',
    'resource_id:uuid',
    'user_tenant_id:uuid',
    'resource_tenant_id:uuid',
    'workflow_process_id:uuid!',
  ]),
  kind('pbac_access', 'pbac.agent.politics.check', [
    ...ACCESS,
    'system_rule_revision:number',
    'tenant_rule_revision:number',
    'eval_ms:number',
    'cache_hit:bool',
    'error:string',
    'denial_source:string',
  ]),
  kind('pbac_service', 'pbac.agent.politics.reset', ['created:time', 'description:string', 'result:bool']),
  kind('pbac_service', 'pbac.agent.politics.load', [
    'created:time',
    'policy_revision:number',
    'description:string',
    'result:bool',
    'compile_ms:number',
  ]),
  kind('pbac_service', 'pbac.agent.start', ['created:time']),
  kind('pbac_service', 'pbac.agent.politics.update', POLITICS),
  kind('pbac_service', 'pbac.agent.politics.archive', POLITICS),
  kind('asset_access', 'assets.access.read', ASSET),
  kind('asset_transfer', 'assets.access.download', [...ASSET, 'avg_speed:number']),
  kind('asset_transfer', 'assets.access.upload', [
    ...ASSET,
    'avg_speed:number',
    'user_space_size:number',
    'total_space_size:number',
  ]),
  kind('asset_transfer', 'assets.access.delete', [...ASSET, 'used_space_size:number', 'total_space_size:number']),
  kind('wkf_cpu', 'workflow.cpu.credit', CREDIT),
  kind('wkf_gpu', 'workflow.gpu.credit', CREDIT),
  kind('kuber_cpu', 'kuber.cpu.credit', CREDIT),
  kind('kuber_gpu', 'kuber.gpu.credit', CREDIT),
  kind('wkf_task', 'workflow.task.start', [
    'task_id:id!',
    'node:string',
    'node_name:string',
    'pod:string',
    'namespace:string',
  ]),
  kind('wkf_task', 'workflow.task.complete', ['task_id:id!', 'detail:string']),
  kind('wkf_task', 'workflow.task.fail', ['task_id:id!', 'detail:string']),
])

/** Of a type that is not in the catalogue: the envelope's. */
export const OTHER_KIND: EventKind = kind('', '', [])[1]

/** All that the seed names; `pbac_politics` has no type of its own. */
export const TOPICS: readonly string[] = [
  ...new Set([...[...CATALOGUE.values()].map(({ topic }) => topic), 'pbac_politics']),
]

function kind(topic: string, type: string, body: readonly Declared[]): [string, EventKind] {
  const personal = PERSONAL_FIELDS.map((name): Declared => `${name}:any`)
  // What stands later replaces what stood before.
  const fields = new Map([...personal, ...ENVELOPE, ...body].map(declared))
  const required = [...fields].filter(([, field]) => field.required).map(([name]) => name)
  return [type, { topic, fields, required, ofNode: body.includes('vm_type:string') }]
}

function declared(text: Declared): [string, Field] {
  const [name = '', type = ''] = text.split(':')
  return [
    name,
    {
      type: type.replace('!', '') as FieldType, // by its type
      required: type.endsWith('!'),
      personal: (PERSONAL_FIELDS as readonly string[]).includes(name),
    },
  ]
}
