/** One event of each type of the catalogue, with every field of the seed's tables, spelled and written as those have them. */

const ID = (n: number): string => `6f9619ff-8b86-4011-b42d-${n.toString(16).padStart(12, '0')}`
const TIME = '2026-01-31T12:00:00.000Z'
const NODE = {
  node_id: ID(1),
  vm_type: 'NV6',
  host_name: 'gpu-1',
  storage_size: 1_099_511_627_776,
  storage_type: 'nvme',
}
const ACCESS = {
  created: TIME,
  user: '{"id":"u-1","name":"Ada"}',
  action: 'start',
  resource: '{"kind":"pod"}',
  result: true,
  service: 'kuber',
  resource_Id: ID(2),
  user_tenant_id: ID(3),
  resource_tenant_id: ID(4),
}
const ASSET = {
  created: TIME,
  resource_url: 's3://assets/1',
  object_size: 1234,
  result: true,
  description: '',
  IP: '10.1.2.3',
}
const POLITICS = { created: TIME, rule_id: ID(5), rule_version: 3, politic_version: 4, description: 'as asked' }
const CREDIT = {
  task_id: ID(6),
  user_id: ID(7),
  node_id: ID(1),
  project: 'p',
  department: 'd',
  amount: 1.5,
  quantity: 90,
  unit: 'gpu_seconds',
  started: TIME,
  ended: TIME,
}
const GENERATION = {
  model: 'xumi:3',
  url: 'https://weights/1',
  created: TIME,
  prompt: 'a cat',
  speed: 'fast',
  task_id: ID(6),
  ...NODE,
}
const TRANSFER = { ...ASSET, avg_speed: 1e6 }

const BODIES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'xumi.weights.load.start': { model: 'xumi:3', url: 'https://weights/1', ...NODE },
  'xumi.weights.load.complete': {
    model: 'xumi:3',
    url: 'https://weights/1',
    origin_event_id: ID(8),
    result: true,
    speed: 1.5e9,
    size: 7e10,
    ...NODE,
  },
  'xumi.generation.start': GENERATION,
  'xumi.generation.complete': { ...GENERATION, start_generation: TIME, result: true, detail: '', user_id: ID(7) },
  'kuber.deploy.start': { ...ACCESS, node_id: ID(1), hardware: '8xH100', hardware_template_id: ID(9) },
  'kuber.deploy.start.complete': {
    ...ACCESS,
    node_id: ID(1),
    description: '',
    hardware: '8xH100',
    hardware_template_id: ID(9),
    prevision_event_id: ID(10),
  },
  'kuber.deploy.free': { ...ACCESS, node_id: ID(1), eval_ms: 3 },
  'kuber.deploy.free.complete': { ...ACCESS, node_id: ID(1), eval_ms: 3 },
  'workflow.process.create': {
    created: TIME,
    node_id: ID(1),
    user_id: 'user 7',
    result: true,
    service: 'workflow',
    resource_Id: ID(2),
    user_tenant_id: ID(3),
    resource_tenant_id: ID(4),
    workflow_process_id: ID(11),
  },
  'pbac.agent.politics.check': {
    ...ACCESS,
    system_rule_revision: 1,
    tenant_rule_revision: 2,
    eval_ms: 0.4,
    cache_hit: false,
    error: '',
    denial_source: 'tenant',
  },
  'pbac.agent.politics.reset': { created: TIME, description: '', result: true },
  'pbac.agent.politics.load': { created: TIME, policy_revision: 7, description: '', result: true, compile_ms: 12 },
  'pbac.agent.start': { created: TIME },
  'pbac.agent.politics.update': POLITICS,
  'pbac.agent.politics.archive': POLITICS,
  'assets.access.read': ASSET,
  'assets.access.download': TRANSFER,
  'assets.access.upload': { ...TRANSFER, user_space_size: 1e9, total_space_size: 1e12 },
  'assets.access.delete': { ...ASSET, used_space_size: 1e9, total_space_size: 1e12 },
  'workflow.cpu.credit': { ...CREDIT, unit: 'core_seconds' },
  'workflow.gpu.credit': CREDIT,
  'kuber.cpu.credit': { ...CREDIT, unit: 'core_seconds' },
  'kuber.gpu.credit': CREDIT,
  'workflow.task.start': { task_id: ID(6), user_id: ID(7), node: 'node-1', pod: 'p', namespace: 'n' },
  'workflow.task.complete': { task_id: ID(6) },
  'workflow.task.fail': { task_id: ID(6), detail: 'out of memory' },
}

/** By type, each with an id of its own. @param salt of the ids */
export function seedEvents(salt = 0): [type: string, event: Record<string, unknown>][] {
  return Object.entries(BODIES).map(([event_type, body], i) => [
    event_type,
    {
      event_id: ID(2 ** 32 + 1000 * salt + i),
      event_type,
      timestamp: TIME,
      session_id: ID(12),
      source: 'seed',
      version: '1.0',
      metadata: {},
      tags: { project: 'p' },
      ...body,
    },
  ])
}
