/**
 * The way into a shard: bodies wait here for its thread, and go in together while it is busy. One write, one hand-off, one
 * answer each: under load a hand-off carries dozens of heartbeats.
 *
 * Full: the door answers 503, and the sender has its body still. So it does when the half is full and the sender has its share of
 * what waits: the flood of one leaves room for the others. How much may wait is bounded by memory, and by time: what would be
 * answered late is refused at once, before its body is read, so that what is taken is answered soon however much is offered.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import { messageOf } from '../../proto/runtime/errors.ts'
import { FairShare } from '../../proto/runtime/fair-share.ts'
import { Mailbox } from '../../proto/runtime/mailbox.ts'
import type { Outcome } from '../../proto/runtime/outcome.ts'
import { retry } from '../../proto/runtime/outcome.ts'
import type { Health, MailboxService } from '../../proto/runtime/service.ts'
import { Pace } from './pace.ts'
import type { IncomingBody, Taken } from './reception.ts'

interface Waiting<B, T> {
  readonly incoming: B
  readonly bytes: number
  /** When it came, ms of the monotonic clock. */
  readonly since: number
  readonly answer: (outcome: Outcome<T>) => void
}

/** A body as far as it matters to whoever waits. */
interface Sent {
  readonly sender: string
  readonly body: Uint8Array
}

/** Whoever takes bodies: the thread of a lane, seen from the main one. */
interface Taker<B, T> {
  readonly name: string
  /** `ms`: how long the thread worked on them. */
  take(
    bodies: readonly B[],
  ): Promise<{ readonly outcomes: readonly Outcome<T>[]; readonly due: boolean; readonly ms: number }>
}

/** Arrivals have a resolution of 1 ms and are never equal: more writes a second than that would run ahead of the clock. */
const WRITE_EVERY_MS = 1
/**
 * A write costs as much as taking several heartbeats, so where little waits it waits for more. Where much does, the pause would cost: both
 * threads find their caches cold after it.
 */
const LITTLE_EVERY_MS = 4
const LITTLE_BYTES = 32 * 1024
const BODIES_AT_ONCE = 256
const BYTES_AT_ONCE = 1024 * 1024 // some 30 ms: larger writes cost hardly less, and what comes behind waits for them
/** A write that was not full tells what others cost where it held so many bodies, and took this part of the longest wait. */
const BODIES_TELL = 8
const WAIT_TELLS = 0.1

export interface WaitingBounds {
  readonly bodies: number
  readonly bytes: number
  /** Of the largest body: every sender may have one waiting. */
  readonly bodyBytes: number
  /** Longest wait, ms: what would wait longer is refused. */
  readonly ms: number
}

export class TakeService<B extends Sent = IncomingBody, T = Taken> implements MailboxService<Waiting<B, T>> {
  readonly name: string
  readonly mailbox: Mailbox<Waiting<B, T>>
  readonly batch: MailboxService<Waiting<B, T>>['batch'] = { messages: BODIES_AT_ONCE, weight: BYTES_AT_ONCE }
  readonly #thread: Taker<B, T>
  readonly #clock: Clock
  readonly #due: () => void
  readonly #bodies: FairShare
  readonly #bytes: FairShare
  readonly #waitMaxMs: number
  readonly #pace = new Pace()
  #overShare = 0
  #tooLate = 0
  #lastWrite = 0

  /** @param due called when the shard has enough for a batch */
  constructor(thread: Taker<B, T>, bounds: WaitingBounds, clock: Clock, due: () => void) {
    this.name = `take-${thread.name}`
    this.#thread = thread
    this.#clock = clock
    this.#due = due
    this.mailbox = new Mailbox(bounds.bodies, bounds.bytes)
    this.#bodies = new FairShare(bounds.bodies, 1)
    this.#bytes = new FairShare(bounds.bytes, bounds.bodyBytes)
    this.#waitMaxMs = bounds.ms
  }

  /** Bodies refused since their sender had its share of what waits. */
  get overShare(): number {
    return this.#overShare
  }

  /** Bodies refused since they would have been answered too late. */
  get tooLate(): number {
    return this.#tooLate
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  health(): Health {
    return { ready: true }
  }

  /**
   * Whether a body would be refused now; asked before it is read, and again when it is there: others may have come meanwhile.
   * @param bytes its length; 0 where that is not known yet
   */
  refuses(sender: string, bytes: number): Outcome<never> | undefined {
    const oldest = this.mailbox.oldest
    const waited = oldest === undefined ? 0 : this.#clock.monotonic() - oldest.since
    // A thread that stands still: nobody adds to what waits of him already, and whoever has nothing there still may.
    const stuck = waited > this.#waitMaxMs && this.#bytes.holds(sender)
    if (stuck || !this.#bytes.allowsWithin(this.#pace.bytesIn(this.#waitMaxMs), sender, bytes)) {
      this.#tooLate++
      return retry(
        'busy',
        `More comes than can be taken, and this would wait for over ${this.#waitMaxMs} ms: send it again`,
      )
    }
    if (!this.#bodies.allows(sender, 1) || !this.#bytes.allows(sender, bytes)) {
      this.#overShare++
      return retry('busy', 'More of this sender is waiting than its share, and others wait too: send this again')
    }
    return undefined
  }

  /** What became of a body. Its memory is used again. Never rejects. */
  take(incoming: B): Promise<Outcome<T>> {
    const bytes = incoming.body.length
    const { sender } = incoming
    const refused = this.refuses(sender, bytes)
    if (refused !== undefined) return Promise.resolve(refused)
    return new Promise((answer) => {
      if (this.mailbox.offer({ incoming, bytes, since: this.#clock.monotonic(), answer }, bytes)) {
        this.#bodies.take(sender, 1)
        this.#bytes.take(sender, bytes)
      } else answer(retry(this.mailbox.closed ? 'stopping' : 'busy', 'More is waiting than may wait: send this again'))
    })
  }

  pauseMs(): number {
    const every = this.mailbox.weight < LITTLE_BYTES ? LITTLE_EVERY_MS : WRITE_EVERY_MS
    return Math.ceil(this.#lastWrite + every - this.#clock.monotonic())
  }

  async handle(waiting: readonly Waiting<B, T>[]): Promise<void> {
    const isFull = this.mailbox.size > 0
    for (const { incoming, bytes } of waiting) {
      this.#bodies.give(incoming.sender, 1)
      this.#bytes.give(incoming.sender, bytes)
    }
    this.#lastWrite = this.#clock.monotonic()
    try {
      const { outcomes, due, ms } = await this.#thread.take(waiting.map((w) => w.incoming))
      const isLong = waiting.length >= BODIES_TELL && ms >= WAIT_TELLS * this.#waitMaxMs
      this.#pace.worked(bytesOf(waiting), ms, isFull || isLong)
      for (const [i, w] of waiting.entries()) w.answer(outcomes[i]!)
      if (due) this.#due()
    } catch (error) {
      for (const w of waiting) w.answer(retry('unavailable', messageOf(error)))
    }
  }
}

function bytesOf(waiting: readonly { readonly bytes: number }[]): number {
  return waiting.reduce((sum, { bytes }) => sum + bytes, 0)
}
