/**
 * Which events tasks and quotas are decided by: those go through the owner log, each once, before anything follows from them. All others
 * are evidence and are stored as they come.
 * @see events.md, "Two roads"
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'

/** Whatever comes by them opens, closes or charges a task. */
const TOPICS: ReadonlySet<string> = new Set(['xumi_task', 'wkf_task', 'wkf_cpu', 'wkf_gpu', 'kuber_cpu', 'kuber_gpu'])

const TYPES: ReadonlySet<string> = new Set([
  'workflow.process.create',
  // How much is moved and kept: quotas of transfer_bytes and storage_bytes.
  'assets.access.download',
  'assets.access.upload',
  'assets.access.delete',
])

/** With what their types begin. */
const FAMILIES: readonly string[] = ['xumi.generation.', 'xumi.weights.load.', 'workflow.task.', 'kuber.deploy.']

/** With what they end: `workflow.gpu.credit` and its like. */
const CREDIT = '.credit'

export function isOperational({ topic, event }: ReceivedEvent): boolean {
  const type = event.event_type
  return (
    TOPICS.has(topic) || TYPES.has(type) || type.endsWith(CREDIT) || FAMILIES.some((family) => type.startsWith(family))
  )
}
