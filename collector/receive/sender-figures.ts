/**
 * The counts of senders as samples, every few seconds, into the tenant whose senders they are: stored, asked for and drawn like
 * any others.
 *
 *     fleetmeter_sender_samples_received_total                   samples (and native histograms) in bodies that could be read
 *     fleetmeter_sender_samples_refused_total{reason}            of these, not taken
 *     fleetmeter_sender_requests_total{outcome}                  requests, answered how
 *     fleetmeter_sender_last_request_seconds                     when the last one came
 *
 * Labels of all: `sender` (its address; of what is this host's own, its name), `credential`, `door`, `instance` and `collector` (where it sends to). A series that is new
 * begins with a zero at the time of the round before, so that its first increase is seen as one. Full shard: the round is
 * dropped, the next one has the same counts and more.
 */
import type { Clock } from '../../proto/runtime/clock.ts'
import type { Health, Service } from '../../proto/runtime/service.ts'
import { compareUtf8 } from '../../proto/wire/labels.ts'
import type { SeriesToWrite } from '../../proto/wire/remote-write.ts'
import { encodeWriteRequest } from '../../proto/wire/remote-write.ts'
import { portableSnappy } from '../../proto/wire/snappy.ts'
import { REFUSAL_CODES } from '../shard/refusals.ts'
import type { ShardThread } from '../shard/shard-thread.ts'
import type { TakeService } from '../shard/take-service.ts'
import type { SenderCounts, Senders } from './senders.ts'

export interface SenderFiguresOptions {
  /** How often, ms; 0: never. */
  readonly intervalMs: number
  readonly collector: string
  /** Label `instance`, and what this host itself is called as a sender. */
  readonly instance: string
  /** Of this host's own figures. */
  readonly tenant: string
  readonly clock: Clock
}

interface Reading {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

const PREFIX = 'fleetmeter_sender'

export class SenderFigures implements Service {
  readonly name = 'senders'
  readonly #shard: Pick<TakeService, 'take'>
  readonly #threads: readonly Pick<ShardThread, 'snapshot' | 'refresh'>[]
  readonly #senders: Senders
  readonly #options: SenderFiguresOptions
  /** Series that the round before had, and the shard took. */
  #known = new Set<string>()
  #roundBefore: number
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #dropped = 0

  /** @param threads whose counts hold what came from this host itself */
  constructor(
    shard: Pick<TakeService, 'take'>,
    threads: readonly Pick<ShardThread, 'snapshot' | 'refresh'>[],
    senders: Senders,
    options: SenderFiguresOptions,
  ) {
    this.#shard = shard
    this.#threads = threads
    this.#senders = senders
    this.#options = options
    this.#roundBefore = options.clock.now()
  }

  /** Bodies that found the shard full. */
  get dropped(): number {
    return this.#dropped
  }

  async start(): Promise<void> {
    if (this.#options.intervalMs === 0) return
    this.#timer = setInterval(() => {
      this.#round ??= this.#write().finally(() => {
        this.#round = undefined
      })
    }, this.#options.intervalMs)
  }

  /** Writes what came in since the last round. */
  async stop(): Promise<void> {
    if (this.#timer === undefined) return
    clearInterval(this.#timer)
    await this.#round
    await this.#write()
  }

  health(): Health {
    return { ready: true }
  }

  async #write(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.refresh()))
    const now = this.#options.clock.now()
    const byTenant = new Map<string, SenderCounts[]>()
    for (const counts of [...this.#senders.current(), ...this.#ownHost(now)])
      byTenant.set(counts.tenant, [...(byTenant.get(counts.tenant) ?? []), counts])
    const known = new Set<string>()
    for (const [tenant, senders] of byTenant) {
      const keys: string[] = []
      const series = senders.flatMap((counts) => this.#readings(counts).map((r) => this.#series(tenant, r, now, keys)))
      const body = Uint8Array.from(portableSnappy.compress(encodeWriteRequest(series)))
      const outcome = await this.#shard.take({ door: 'host', tenant, sender: 'senders', body })
      if (outcome.kind !== 'ok') this.#dropped++
      else for (const key of keys) known.add(key)
    }
    this.#known = known
    this.#roundBefore = now
  }

  #readings(counts: SenderCounts): Reading[] {
    const { address, credential, door } = counts
    const { collector, instance } = this.#options
    const labels = { sender: address, credential, door, collector, instance }
    const reading = (name: string, value: number, more: Readonly<Record<string, string>> = {}): Reading => ({
      name: `${PREFIX}_${name}`,
      labels: { ...labels, ...more },
      value,
    })
    return [
      reading('samples_received_total', counts.samplesReceived),
      reading('last_request_seconds', counts.lastSeen / 1000),
      ...[...counts.samplesRefused].map(([reason, count]) => reading('samples_refused_total', count, { reason })),
      ...[...counts.requests].map(([outcome, count]) => reading('requests_total', count, { outcome })),
    ]
  }

  #series(tenant: string, { name, labels, value }: Reading, now: number, keys: string[]): SeriesToWrite {
    const sorted = Object.entries({ __name__: name, ...labels }).sort((a, b) => compareUtf8(a[0], b[0]))
    const key = JSON.stringify([tenant, sorted])
    keys.push(key)
    const begins = !this.#known.has(key) && name.endsWith('_total') && this.#roundBefore < now
    const zero = { timestamp: this.#roundBefore, value: 0 }
    return { labels: sorted, samples: [...(begins ? [zero] : []), { timestamp: now, value }] }
  }

  /** What this host itself has sent, which comes through no door: its own figures and these. */
  #ownHost(now: number): SenderCounts[] {
    const counts = this.#threads.flatMap(({ snapshot }) => snapshot?.counts.doors.host.items.sample ?? [])
    const received = counts.reduce((n, c) => n + c.received, 0)
    if (received === 0) return []
    const refused = REFUSAL_CODES.map((reason, i) => [reason, counts.reduce((n, c) => n + c.refused[i]!, 0)] as const)
    return [
      {
        tenant: this.#options.tenant,
        address: this.#options.instance,
        credential: 'none',
        door: 'host',
        samplesReceived: received,
        samplesRefused: new Map(refused.filter(([, count]) => count > 0)),
        requests: new Map(),
        lastSeen: now,
      },
    ]
  }
}
