/** Whose a task is, and which machine it was on, as the directories have it at the time it ran. */
import type { NodeRecord } from '../directory/node-entry.ts'
import { namesOf } from '../directory/node-entry.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { Series } from './series-source.ts'
import type { TaskWho } from './task-details.ts'
import type { TaskRecord } from './task-record.ts'
import type { UsageOwner } from './usage-out.ts'

/** The entry of the machine that a record names, by the surest of its names. */
export function nodeEntryOf(
  directory: DirectorySnapshot,
  { tenant, facts }: Pick<TaskRecord, 'tenant' | 'facts'>,
  at: number,
): NodeRecord | undefined {
  for (const name of [facts.nodeId, facts.hostName, facts.nodeName]) {
    const entry = name === undefined ? undefined : directory.nodeOf(tenant, name, at)
    if (entry !== undefined) return entry
  }
  return undefined
}

/** Every name by which samples may call the machine of a record: its events' own, the surest first, and those that the entry adds. */
export function nodeNamesOf(
  directory: DirectorySnapshot,
  record: Pick<TaskRecord, 'tenant' | 'facts'>,
  at: number,
): string[] {
  const { nodeId, hostName, nodeName } = record.facts
  const own = [nodeId, hostName, nodeName].filter((name) => name !== undefined)
  const entry = nodeEntryOf(directory, record, at)
  return [...new Set([...own, ...(entry === undefined ? [] : namesOf(entry))])]
}

/** When the record is of. */
export function timeOfRecord({ startedAt, queuedAt, endedAt }: TaskRecord, now: number): number {
  return startedAt ?? queuedAt ?? endedAt ?? now
}

/** @param names by which samples may call the machine; the ledger's one name first */
export function whoOf(
  directory: DirectorySnapshot,
  record: TaskRecord,
  at: number,
  node: string | undefined,
  names: readonly string[],
): Omit<TaskWho, 'samplesOf'> {
  const { tenant, facts, tags } = record
  const entry = nodeEntryOf(directory, record, at)
  const { tenant: _, ...attribution } = directory.attribute({ tenant, userId: facts.userId, at, tags })
  return {
    ...attribution,
    userId: facts.userId ?? null,
    node: {
      name: node ?? null,
      names,
      entry: entry?.id ?? null,
      vmType: facts.vmType ?? entry?.vm_type ?? null,
      gpuModel: entry?.gpu_model ?? null,
    },
  }
}

/** Where the directory does not know the model, exporters say it. */
export function withGpuModel<T extends Pick<TaskWho, 'node'>>(who: T, series: readonly Series[]): T {
  if (who.node.gpuModel !== null) return who
  const said = series.map(({ labels }) => labels['modelName'] || labels['gpu_model']).find(Boolean)
  return said === undefined ? who : { ...who, node: { ...who.node, gpuModel: said } }
}

export function ownerOf({ userId, project, department }: TaskWho): UsageOwner {
  return { userId: userId ?? '', project: project ?? '', department: department ?? '' }
}
