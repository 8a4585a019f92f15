/**
 * Which names are one node. Events say a few of a machine's names, the directory knows all of them; nothing is guessed from events,
 * since what is guessed from what came first depends on what came first.
 */
import { namesOf } from '../directory/node-entry.ts'
import type { DirectorySnapshot } from '../directory/snapshot.ts'
import type { TaskFacts } from './signal.ts'

export type NodeNames = Pick<TaskFacts, 'nodeId' | 'hostName' | 'nodeName'>

/** The surest name that an event has for its node: by it the ledger knows who is where. */
export function surestName({ nodeId, hostName, nodeName }: NodeNames): string | undefined {
  return nodeId ?? hostName ?? nodeName
}

/**
 * All names by which the ledger may know the tasks of a node, its own first: tasks that call one machine by different names share it.
 * Of an entry that does not have the node's own name nothing is taken: those that it has would not lead back.
 * @param at ms
 */
export function sharedNames(directory: DirectorySnapshot, tenant: string, node: string, at: number): string[] {
  const entry = directory.nodeOf(tenant, node, at)
  const names = new Map([[node.toLowerCase(), node]])
  for (const name of entry === undefined ? [] : namesOf(entry))
    if (!names.has(name.toLowerCase())) names.set(name.toLowerCase(), name)
  return [...names.values()]
}
