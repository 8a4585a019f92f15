/**
 * Events that a standby sends to the owner of the log (`POST /intake/v1/owner-events`): a batch of operational ones, answered with what
 * became of each, `{"outcomes": ["logged" | "duplicate" | "refused", …]}`, once those that are to be are durable.
 */
import type { ReceivedEvent } from '../../proto/events/event.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import { decodeEventBatch } from '../../proto/wire/event-batch.ts'
import { WireError } from '../../proto/wire/wire-error.ts'
import type { Owner } from '../owner/owner.ts'
import { itemProblem } from './event-checks.ts'
import { isOperational } from './operational.ts'

export type ForwardedAnswer =
  | { readonly kind: 'taken'; readonly outcomes: readonly ('logged' | 'duplicate' | 'refused')[] }
  | { readonly kind: 'unreadable' | 'later'; readonly reason: string }

/**
 * @param owner of this aggregator, where it is the owner
 * @param hasRoom whether so many bytes more may wait for ClickHouse
 */
export async function takeForwarded(
  bytes: Uint8Array,
  owner: Pick<Owner, 'take'> | undefined,
  hasRoom: (bytes: number) => boolean,
): Promise<ForwardedAnswer> {
  if (owner === undefined) return { kind: 'later', reason: 'This aggregator is not the owner' }
  if (!hasRoom(bytes.length)) return { kind: 'later', reason: 'ClickHouse does not take rows fast enough' }
  const events: ReceivedEvent[] = []
  try {
    for (const [i, item] of decodeEventBatch(bytes).items.entries()) {
      const wrong = itemProblem(item) ?? ('dead' in item || !isOperational(item) ? 'it is not operational' : undefined)
      if (wrong !== undefined || 'dead' in item) throw new WireError('malformed', `item ${i + 1}: ${wrong}`)
      events.push(item)
    }
  } catch (error) {
    if (error instanceof WireError) return { kind: 'unreadable', reason: messageOf(error) }
    throw error
  }
  const outcomes = await owner.take(events)
  return { kind: 'taken', outcomes: outcomes.map((outcome) => (typeof outcome === 'object' ? 'refused' : outcome)) }
}
