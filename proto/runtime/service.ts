/**
 * One owner of one piece of state. Everything with state or a connection is a service; everything else is a plain function.
 */
import type { Mailbox } from './mailbox.ts'

/** The last known state; asking never calls a peer. */
export interface Health {
  readonly ready: boolean
  /** For a person: why not, or anything worth knowing. */
  readonly detail?: string
}

export interface Service {
  /** The label on its metrics, log lines and entry in /readyz. */
  readonly name: string
  /** Opens what it needs. The process is ready when every start has resolved. */
  start(): Promise<void>
  /**
   * Called when nothing comes in any more: flush, then close.
   * @param deadline aborted when the time to stop is over; what is not done by then stays in the journal
   */
  stop(deadline: AbortSignal): Promise<void>
  health(): Health
}

/** A service that is fed by messages, several at a time where that is cheaper. */
export interface MailboxService<M> extends Service {
  readonly mailbox: Mailbox<M>
  /** Most messages and bytes handed over at once. */
  readonly batch: { readonly messages: number; readonly weight: number }
  /** How long the messages that are there wait for others to come, ms: they are handed over together. None where it is absent. */
  pauseMs?(): number
  /** One call at a time. A rejection is a crash and goes to the supervisor; the messages are not tried again. */
  handle(messages: readonly M[]): Promise<void>
}

export function hasMailbox(service: Service): service is MailboxService<unknown> {
  return 'mailbox' in service
}
