/**
 * Nodes: one entry joins the names that a machine goes by (node_id in events, host_name, the node of Kubernetes, instances of samples)
 * with what it is. Entries that somebody made win over those that were learnt (`source` is observed; nothing learns any yet).
 */
import type { Directory, Entry, EntryRecord } from './entry.ts'
import { DATES, overlap, TENANT_FIELD } from './entry.ts'

export interface NodeRecord extends EntryRecord {
  readonly node_id: string | null
  readonly host_name: string | null
  readonly kubernetes_node: string | null
  readonly instances: readonly string[]
  readonly vm_type: string | null
  readonly gpu_model: string | null
  readonly gpu_count: number | null
  readonly source: 'explicit' | 'observed'
}

export const nodes: Directory<NodeRecord> = {
  kind: 'node',
  plural: 'nodes',
  fields: [
    { name: 'node_id', kind: 'text', doc: 'As events name it.' },
    { name: 'host_name', kind: 'text', doc: 'Its host name; upper and lower case are the same.' },
    { name: 'kubernetes_node', kind: 'text', doc: 'The name of its node in Kubernetes.' },
    { name: 'instances', kind: 'texts', doc: 'What samples say in `instance`: host:port, or a host for any port.' },
    { name: 'vm_type', kind: 'text', doc: 'The kind of machine, by which prices may be.' },
    { name: 'gpu_model', kind: 'text', doc: 'The model of its GPUs, by which prices may be.' },
    { name: 'gpu_count', kind: 'integer', min: 0, max: 4096, doc: 'How many GPUs it has.' },
    ...DATES,
    TENANT_FIELD,
  ],
  ownFields: [
    {
      name: 'source',
      kind: 'text',
      required: true,
      doc: 'explicit: somebody said so; observed: learnt, which nothing does yet.',
    },
  ],
  ownValues: { source: 'explicit' },
  filters: ['node_id', 'host_name', 'kubernetes_node', 'vm_type', 'gpu_model', 'source'],
  keysOf: (record) => [...new Set(namesOf(record).map((name) => nodeKey(record.tenant, name)))],
  wrong: (values) => {
    const { node_id, host_name, kubernetes_node, instances } = values
    const named = node_id ?? host_name ?? kubernetes_node ?? (instances as readonly string[] | undefined)?.[0]
    return named === undefined
      ? { field: 'node_id', message: 'expected at least one of node_id, host_name, kubernetes_node, instances' }
      : undefined
  },
  conflict: conflictOf,
  supersedes: false,
}

/** Hosts are told apart as DNS does: case is nothing. */
export function nodeKey(tenant: string, name: string): string {
  return `${tenant}\0${name.toLowerCase()}`
}

/** Every name that it goes by. */
export function namesOf({ node_id, host_name, kubernetes_node, instances }: NodeRecord): string[] {
  return [node_id, host_name, kubernetes_node, ...instances].filter((name) => name !== null)
}

/** One name, one machine: at a moment, among those that somebody entered, and among those that were learnt. */
function conflictOf(entry: Entry<NodeRecord>, other: Entry<NodeRecord>): string | undefined {
  if (entry.record.source !== other.record.source || !overlap(entry, other)) return undefined
  const taken = new Set(namesOf(other.record).map((name) => name.toLowerCase()))
  const common = namesOf(entry.record).find((name) => taken.has(name.toLowerCase()))
  const { id, valid_from, valid_to } = other.record
  return `the name "${common}" is of the node ${id} from ${valid_from} to ${valid_to ?? 'no known end'}`
}
