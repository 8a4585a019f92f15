/** Every metric of the collector, in one place. All are read from the services' own counts at the scrape. */
import { FAULT_CODES } from '../proto/events/check.ts'
import type { Metrics, Reading } from '../proto/runtime/metrics.ts'
import { ITEM_KINDS } from '../proto/wire/batch-extras.ts'
import type { EventDoorCounts } from './events/event-counts.ts'
import { waitingEvents } from './events/event-counts.ts'
import type { EventsSnapshot } from './events/events-core.ts'
import type { EventsThread } from './events/events-thread.ts'
import type { Answered, IncomingEvents } from './events/incoming.ts'
import type { ForwardService } from './forward/forward-service.ts'
import type { KafkaEventsLink } from './forward/kafka-events-link.ts'
import type { BatchLink } from './forward/link.ts'
import type { HostSampler } from './host/host-sampler.ts'
import { TOOL_STATES } from './host/tool.ts'
import { EVENT_DOORS, SAMPLE_DOORS } from './journal/record.ts'
import type { DoorRequests } from './receive/doors.ts'
import type { Limits } from './receive/limits.ts'
import { LIMITS } from './receive/limits.ts'
import type { ReceivedTenants } from './receive/received-tenants.ts'
import type { SenderFigures } from './receive/sender-figures.ts'
import { REFUSAL_CODES } from './shard/refusals.ts'
import type { DoorCounts, ItemCounts } from './shard/shard-counts.ts'
import { waiting } from './shard/shard-counts.ts'
import type { ShardSnapshot, ShardThread } from './shard/shard-thread.ts'
import type { TakeService } from './shard/take-service.ts'

/** The way into a lane, whatever it takes. */
type Entry = Pick<TakeService, 'name' | 'overShare' | 'tooLate'> & {
  readonly mailbox: Pick<TakeService['mailbox'], 'counts'>
}

export interface Measured {
  readonly threads: readonly ShardThread[]
  readonly takes: readonly TakeService[]
  readonly forwards: readonly ForwardService[]
  readonly events: EventsThread
  readonly eventsTake: TakeService<IncomingEvents, Answered>
  readonly links: readonly BatchLink[]
  readonly kafkaEvents: KafkaEventsLink | undefined
  readonly requests: DoorRequests
  readonly limits: Limits
  readonly tenants: ReceivedTenants
  readonly host: HostSampler | undefined
  readonly senderFigures: SenderFigures
}

/**
 * The sum that always holds, for each source (a shard's door) and kind of item:
 * received + recovered = refused + duplicate + replaced + consumed + stored + waiting.
 */
export function registerCollectorMetrics(metrics: Metrics, measured: Measured): void {
  const { threads, forwards, links, events } = measured
  const takes = [...measured.takes, measured.eventsTake]
  metrics.refreshedBy(() => Promise.all([...threads, events].map((thread) => thread.refresh())))
  const ofEvents = (read: (counts: EventDoorCounts) => number, labels: Reading['labels'] = {}): Reading[] =>
    EVENT_DOORS.map((door) => ({
      labels: { shard: events.name, door, ...labels },
      value: events.snapshot === undefined ? 0 : read(events.snapshot.counts.doors[door]),
    }))
  const perDoor = (read: (counts: DoorCounts | EventDoorCounts) => number) => (): Reading[] => [
    ...threads.flatMap((thread) =>
      SAMPLE_DOORS.map((door) => ({
        labels: { shard: thread.name, door },
        value: thread.snapshot === undefined ? 0 : read(thread.snapshot.counts.doors[door]),
      })),
    ),
    ...ofEvents(read),
  ]
  /** @param ofEvent the same of the events lane */
  const perItem =
    (read: (counts: ItemCounts) => number, ofEvent: (counts: EventDoorCounts) => number) => (): Reading[] => [
      ...threads.flatMap((thread) =>
        SAMPLE_DOORS.flatMap((door) =>
          ITEM_KINDS.map((kind) => ({
            labels: { shard: thread.name, door, kind },
            value: thread.snapshot === undefined ? 0 : read(thread.snapshot.counts.doors[door].items[kind]),
          })),
        ),
      ),
      ...ofEvents(ofEvent, { kind: 'event' }),
    ]
  const perShard = (read: (snapshot: ShardSnapshot) => number) => (): Reading[] =>
    threads.flatMap((thread) =>
      thread.snapshot === undefined ? [] : [{ labels: { shard: thread.name }, value: read(thread.snapshot) }],
    )
  const perJournal = (read: (snapshot: ShardSnapshot | EventsSnapshot) => number) => (): Reading[] =>
    [...threads, events].flatMap(({ name, snapshot }) =>
      snapshot === undefined ? [] : [{ labels: { shard: name }, value: read(snapshot) }],
    )
  const source = ['shard', 'door']
  const items = [...source, 'kind']

  metrics.counter(
    'items_received_total',
    'Items (samples, native histograms, exemplars, metadata) in bodies that could be read.',
    items,
    perItem(
      (c) => c.received,
      (c) => c.received,
    ),
  )
  metrics.counter(
    'items_recovered_total',
    'Items accepted by an earlier process and not known to be stored at the start.',
    items,
    perItem(
      (c) => c.recovered,
      (c) => c.recovered,
    ),
  )
  metrics.counter(
    'items_duplicate_total',
    'Samples equal to the last one of their series, and other items that are known.',
    items,
    perItem(
      (c) => c.duplicate,
      (c) => c.duplicate,
    ),
  )
  metrics.counter(
    'items_replaced_total',
    'Items superseded in the same write by a later one for the same instant.',
    items,
    perItem(
      (c) => c.replaced,
      () => 0,
    ),
  )
  metrics.counter(
    'items_consumed_total',
    'Samples that went into windows of aggregation rules instead of being stored.',
    items,
    perItem(
      (c) => c.consumed,
      () => 0,
    ),
  )
  metrics.counter(
    'items_stored_total',
    'Items that an aggregator has stored.',
    items,
    perItem(
      (c) => c.stored,
      (c) => c.stored,
    ),
  )
  metrics.gauge(
    'items_waiting',
    'Items in the journal that are not stored yet.',
    items,
    perItem(waiting, waitingEvents),
  )
  metrics.counter('items_refused_total', 'Items not taken, by reason.', [...items, 'reason'], () => [
    ...threads.flatMap((thread) =>
      SAMPLE_DOORS.flatMap((door) =>
        ITEM_KINDS.flatMap((kind) =>
          REFUSAL_CODES.map((reason, i) => ({
            labels: { shard: thread.name, door, kind, reason },
            value: thread.snapshot?.counts.doors[door].items[kind].refused[i] ?? 0,
          })).filter(({ value }) => value > 0 || kind === 'sample'),
        ),
      ),
    ),
    ...FAULT_CODES.flatMap((reason) => ofEvents((c) => c.refused[reason], { kind: 'event', reason })),
  ])
  metrics.counter(
    'event_letters_total',
    'Of the items of the events lane, those that are kept as letters since they are no events, by reason.',
    ['shard', 'door', 'reason'],
    () => FAULT_CODES.flatMap((reason) => ofEvents((c) => c.letters[reason], { reason })),
  )
  metrics.counter(
    'event_values_coerced_total',
    'Values of events that came as text, or text that came as a number, and were read as what they stand for.',
    source,
    () => ofEvents((c) => c.coerced),
  )
  metrics.gauge('event_ids_known', 'Ids of events that came lately.', [], () => [
    { value: events.snapshot?.recent ?? 0 },
  ])
  metrics.counter(
    'bodies_undecodable_total',
    'Bodies that could not be read at all.',
    source,
    perDoor((c) => c.undecodable),
  )
  metrics.counter('requests_total', 'Requests at the doors, by outcome.', ['door', 'outcome'], () =>
    measured.requests.readings(),
  )
  metrics.counter('requests_limited_total', 'Requests answered 429, by the limit that was used up.', ['limit'], () =>
    LIMITS.map((limit) => ({ labels: { limit }, value: measured.limits.refused[limit] })),
  )
  metrics.counter(
    'tenant_samples_received_total',
    'Samples that came through the doors in bodies that could be read, by tenant; those that the configuration does not name together.',
    ['tenant'],
    () => measured.tenants.readings(),
  )
  metrics.counter(
    'host_rounds_dropped_total',
    "Rounds of this host's own figures that found the shard full.",
    [],
    () => [{ value: measured.host?.dropped ?? 0 }],
  )
  metrics.gauge('host_interval_seconds', "Time from one round of this host's own figures to the next, now.", [], () =>
    measured.host === undefined ? [] : [{ value: measured.host.pace.intervalMs / 1000 }],
  )
  metrics.gauge('host_gpus', 'GPUs of this host that are sampled.', [], () =>
    measured.host === undefined ? [] : [{ value: measured.host.gpuCount }],
  )
  metrics.gauge(
    'host_file_systems_unanswered',
    'File systems of the network that do not answer when asked how full they are.',
    [],
    () => (measured.host === undefined ? [] : [{ value: measured.host.unansweredFileSystems }]),
  )
  metrics.gauge(
    'host_tool_state',
    '1 for the state in which a program that is asked for GPUs is.',
    ['tool', 'state'],
    () =>
      (measured.host?.tools ?? []).flatMap((tool) =>
        TOOL_STATES.map((state) => ({ labels: { tool: tool.name, state }, value: tool.state === state ? 1 : 0 })),
      ),
  )
  metrics.counter(
    'host_tool_failures_total',
    'Times that such a program failed, or did not answer in time and was killed.',
    ['tool'],
    () => (measured.host?.tools ?? []).map((tool) => ({ labels: { tool: tool.name }, value: tool.failures })),
  )
  metrics.counter(
    'sender_rounds_dropped_total',
    'Rounds of the counts of senders that found the shard full.',
    [],
    () => [{ value: measured.senderFigures.dropped }],
  )

  metrics.counter(
    'shard_thread_starts_total',
    'Threads begun for a shard: more than one means that the one before failed.',
    ['shard'],
    () => [...threads, events].map((thread) => ({ labels: { shard: thread.name }, value: thread.generation })),
  )
  metrics.gauge(
    'series',
    'Series that a shard knows.',
    ['shard'],
    perShard((s) => s.series),
  )
  metrics.gauge(
    'journal_bytes',
    'Disk that the journal takes.',
    ['shard'],
    perJournal((s) => s.journalBytes),
  )
  metrics.gauge(
    'journal_segments',
    'Files of the journal.',
    ['shard'],
    perJournal((s) => s.journalSegments),
  )
  metrics.counter(
    'journal_append_failures_total',
    'Writes that were not taken since the journal could not be written.',
    ['shard'],
    perJournal((s) => s.counts.appendFailures),
  )
  metrics.counter(
    'journal_sync_failures_total',
    'Syncs of the journal that failed.',
    ['shard'],
    perJournal((s) => s.counts.syncFailures),
  )
  metrics.counter(
    'journal_lost_samples_total',
    'Accepted samples found missing in the journal at the start.',
    ['shard'],
    perJournal((s) => s.recovery.lost),
  )
  metrics.gauge(
    'journal_end_position',
    'Samples ever accepted into the journal.',
    ['shard'],
    perJournal((x) => x.end),
  )
  metrics.gauge(
    'journal_cursor_position',
    'How many of them, from the first on, are stored.',
    ['shard'],
    perJournal((x) => x.cursor),
  )
  metrics.counter(
    'journal_quarantined_bytes_total',
    'Damaged bytes of the journal kept aside at the start.',
    ['shard'],
    perJournal((s) => s.recovery.quarantined),
  )
  metrics.counter(
    'journal_unreadable_samples_total',
    'Samples in sound records that cannot be replayed: their bodies are in quarantine.',
    ['shard'],
    perShard((s) => s.counts.unreadable),
  )

  const ofRules = (read: (rules: NonNullable<ShardSnapshot['rules']>) => number) => (): Reading[] =>
    threads.flatMap(({ name, snapshot }) =>
      snapshot?.rules === undefined ? [] : [{ labels: { shard: name }, value: read(snapshot.rules) }],
    )
  metrics.gauge(
    'rule_points',
    'Samples in windows of aggregation rules.',
    ['shard'],
    ofRules((r) => r.points),
  )
  metrics.counter(
    'rule_points_late_total',
    'Samples that came after their window was closed; they are stored as they are.',
    ['shard'],
    ofRules((r) => r.late),
  )
  metrics.counter(
    'rule_points_full_total',
    'Samples that found no room in windows or groups; they are stored as they are.',
    ['shard'],
    ofRules((r) => r.full),
  )
  metrics.counter('rule_outputs_total', 'Outputs of rules, amendments included.', [], () =>
    threads.flatMap(({ snapshot }) => (snapshot?.merged === undefined ? [] : [{ value: snapshot.merged.outputs }])),
  )
  const overflowing = ['shard', 'tenant', 'metric', 'label', 'bound']
  metrics.counter(
    'overflow_samples_total',
    'Samples of series beyond the cardinality bounds, aggregated by metric: the twenty metrics with most, and the label that has most values.',
    overflowing,
    () =>
      threads.flatMap(({ name, snapshot }) =>
        (snapshot?.overflowing ?? []).map(({ tenant, metric, label, bound, samples }) => ({
          labels: { shard: name, tenant, metric, label, bound },
          value: samples,
        })),
      ),
  )
  metrics.counter(
    'overflow_samples_lost_total',
    'Of these, in windows that could not be completed after a restart.',
    ['shard'],
    perShard((s) => s.counts.overflowLost),
  )
  metrics.counter(
    'rule_windows_unkept_total',
    'Times that journal files were removed at the disk bound although a restart would need them for windows.',
    ['shard'],
    perShard((s) => s.counts.windowsUnkept),
  )

  const mailboxes = (read: (take: Entry) => number) => (): Reading[] =>
    takes.map((take) => ({ labels: { mailbox: take.name }, value: read(take) }))
  metrics.counter(
    'mailbox_pushed_total',
    'Messages that went into a mailbox.',
    ['mailbox'],
    mailboxes((t) => t.mailbox.counts.pushed),
  )
  metrics.counter(
    'mailbox_popped_total',
    'Messages that came out of it.',
    ['mailbox'],
    mailboxes((t) => t.mailbox.counts.popped),
  )
  metrics.counter(
    'mailbox_full_total',
    'Messages that found it full.',
    ['mailbox'],
    mailboxes((t) => t.mailbox.counts.refused),
  )

  metrics.counter(
    'mailbox_over_share_total',
    'Messages refused since their sender had its share of a mailbox that was half full.',
    ['mailbox'],
    mailboxes((t) => t.overShare),
  )
  metrics.counter(
    'mailbox_too_late_total',
    'Messages refused, mostly before their body was read, since they would have waited for too long.',
    ['mailbox'],
    mailboxes((t) => t.tooLate),
  )

  const sent = (read: (counts: ForwardService['counts']) => number) => (): Reading[] =>
    forwards.map((f) => ({ labels: { shard: f.name }, value: read(f.counts) }))
  metrics.counter(
    'batches_sent_total',
    'Batches given to the link.',
    ['shard'],
    sent((c) => c.batches),
  )
  metrics.counter(
    'batch_bytes_sent_total',
    'Their bytes.',
    ['shard'],
    sent((c) => c.bytes),
  )
  metrics.counter(
    'batch_samples_sent_total',
    'Their samples.',
    ['shard'],
    sent((c) => c.samples),
  )
  metrics.counter(
    'batch_samples_unreadable_total',
    'Samples in batches that the aggregator could not read and kept aside.',
    ['shard'],
    sent((c) => c.unreadable),
  )
  metrics.counter(
    'batch_samples_expired_total',
    'Samples counted as stored that the aggregator found too old by then and did not keep.',
    ['shard'],
    sent((c) => c.expired),
  )
  metrics.gauge(
    'batches_in_flight',
    'Batches sent and not yet stored.',
    ['shard'],
    sent((c) => c.inFlight),
  )
  const attempts = (read: (counts: BatchLink['counts']) => number) => (): Reading[] => [
    { value: links.reduce((n, link) => n + read(link.counts), 0) },
  ]
  metrics.counter(
    'forward_attempts_total',
    'Requests to aggregators.',
    [],
    attempts((c) => c.attempts),
  )
  metrics.counter(
    'forward_failures_total',
    'Requests to aggregators that brought no answer, or "not now".',
    [],
    attempts((c) => c.failures),
  )
  if (measured.kafkaEvents !== undefined) registerKafkaMetrics(metrics, measured.kafkaEvents)
}

function registerKafkaMetrics(metrics: Metrics, link: KafkaEventsLink): void {
  const counters: readonly (readonly [name: string, help: string, read: (f: KafkaEventsLink['figures']) => number])[] =
    [
      [
        'kafka_events_published_total',
        'Events and letters that brokers have, each time they took them.',
        (f) => f.published,
      ],
      [
        'kafka_events_aside_total',
        'Items larger than any broker takes, which went to an aggregator over HTTP.',
        (f) => f.aside,
      ],
      [
        'kafka_publish_failures_total',
        'Attempts to publish that failed, beyond those of the client.',
        (f) => f.failures,
      ],
    ]
  for (const [name, help, read] of counters) metrics.counter(name, help, [], () => [{ value: read(link.figures) }])
  metrics.gauge('kafka_bytes_in_flight', 'Bytes of events on their way to brokers.', [], () => [
    { value: link.figures.bytesInFlight },
  ])
  metrics.gauge(
    'kafka_away',
    '1 while brokers do not take events: /readyz says why, the journal keeps them.',
    [],
    () => [{ value: link.problem === undefined ? 0 : 1 }],
  )
}
