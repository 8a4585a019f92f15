/** Slices of quotas that this collector holds, put together. */
import { readFileSync } from 'node:fs'
import type { Access } from '../proto/runtime/access.ts'
import type { Clock } from '../proto/runtime/clock.ts'
import type { Logger } from '../proto/runtime/log.ts'
import type { Metrics } from '../proto/runtime/metrics.ts'
import type { CollectorConfig } from './config.ts'
import { LeaseJournals } from './leases/lease-journal.ts'
import { LeaseLink } from './leases/lease-link.ts'
import { CollectorLeases } from './leases/lease-service.ts'
import { QuotaDoors } from './leases/quota-doors.ts'
import type { PassThrough } from './receive/pass-through.ts'

export interface LeaseParts {
  /** Its id. */
  readonly collector: string
  readonly directory: string
  readonly urls: readonly string[]
  readonly token: () => string
  readonly access: Access
  readonly passThrough: PassThrough
  readonly metrics: Metrics
  readonly clock: Clock
  readonly log: Logger
}

export interface Leases {
  readonly service: CollectorLeases
  readonly doors: QuotaDoors
  readonly close: () => void
}

/** @returns undefined: nobody asked for it */
export function leasesFrom(own: CollectorConfig, parts: LeaseParts): Leases | undefined {
  if (!own.quotaLeases) return undefined
  const { collector, directory, urls, token, access, passThrough, metrics, clock, log } = parts
  const link = new LeaseLink({ urls, token, timeoutMs: own.quotaLeaseTimeoutMs })
  const service = new CollectorLeases({
    collector,
    boot: bootId(),
    journals: new LeaseJournals(directory),
    ask: (round) => link.ask(round),
    clock,
    log,
  })
  registerLeaseMetrics(metrics, service)
  return { service, doors: new QuotaDoors({ leases: service, access, passThrough, clock }), close: () => link.close() }
}

/** Of this start of the machine; '' where the system has none: then no start is told from another. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

function registerLeaseMetrics(metrics: Metrics, service: CollectorLeases): void {
  metrics.gauge(
    'quota_leases',
    'Slices of quotas that are held here, or of which something is still to be told.',
    [],
    () => [{ value: service.sizes.slices }],
  )
  metrics.gauge('quota_unreported', 'Reservations decided here that no aggregator is known to know.', [], () => [
    { value: service.sizes.unreported },
  ])
  metrics.counter(
    'quota_requests_total',
    'Checks and reservations, by who decided; void: too late to be granted here.',
    ['decided'],
    () => {
      const { granted, repeated, checked, passed, void: late } = service.counts
      return Object.entries({ granted, repeated, checked, passed, void: late }).map(([decided, value]) => ({
        labels: { decided },
        value,
      }))
    },
  )
  metrics.counter('quota_lease_rounds_total', 'Rounds about slices.', ['outcome'], () => {
    const { rounds, failures } = service.counts
    return [
      { labels: { outcome: 'answered' }, value: rounds - failures },
      { labels: { outcome: 'failed' }, value: failures },
    ]
  })
}
