/** The collector's settings. */
import { PERSONAL_FORM } from '../proto/events/personal.ts'
import type { Section } from '../proto/runtime/config.ts'
import { bytes, flag, integer, list, oneOf, text } from '../proto/runtime/config.ts'
import { TENANT_FORM } from '../proto/runtime/tenants.ts'
import { rules } from './rules/rules-setting.ts'

export interface CollectorConfig {
  readonly listen: string
  readonly id: string
  readonly shards: number
  readonly bodyBytesMax: number
  readonly decodedBytesMax: number
  readonly samplesPerBodyMax: number
  readonly receivingBytesMax: number
  readonly waitingBytesMax: number
  readonly waitingBodiesMax: number
  readonly waitingMsMax: number
  readonly senderSamplesPerSecond: number
  readonly senderBurstSeconds: number
  readonly tenantSamplesPerSecond: number
  readonly tenantBurstSeconds: number
  readonly tenantsMax: number
  readonly journalBytesMax: number
  readonly journalSegmentBytes: number
  readonly journalSync: 'second' | 'write'
  readonly batchIntervalMs: number
  readonly batchBytes: number
  readonly batchSamples: number
  readonly inFlightBatchesMax: number
  readonly inFlightBytesMax: number
  readonly forwardToken: string
  readonly forwardTimeoutMs: number
  readonly backoffMaxMs: number
  readonly futureMaxMs: number
  readonly seriesMax: number
  readonly seriesPerTenantMax: number
  readonly seriesPerSenderMax: number
  readonly overflowSeriesMax: number
  readonly metadataBytesMax: number
  readonly labelCountMax: number
  readonly labelNameBytesMax: number
  readonly labelValueBytesMax: number
  readonly eventsOpenTenants: readonly string[]
  readonly eventsPersonal: readonly string[]
  readonly eventsPerBodyMax: number
  readonly eventBytesMax: number
  readonly eventsRecentMax: number
  readonly eventsTopics: readonly string[]
  readonly eventsBasePath: string
  readonly eventsOwnNetworks: readonly string[]
  readonly vmType: string
  readonly storageSize: string
  readonly storageType: string
  readonly rules: readonly unknown[]
  readonly rulesKeepMs: number
  readonly rulesPointsMax: number
  readonly rulesGroupsMax: number
  readonly quotaLeases: boolean
  readonly quotaLeaseTimeoutMs: number
  readonly host: boolean
  readonly hostIntervalMs: number
  readonly hostFastIntervalMs: number
  readonly hostFastWhileComputing: boolean
  readonly hostGpus: boolean
  readonly hostNebulaNames: boolean
  readonly hostToolTimeoutMs: number
  readonly hostName: string
  readonly senderIntervalMs: number
  readonly stopDeadlineMs: number
}

const KIB = 1024
const MIB = 1024 * KIB
const GIB = 1024 * MIB

export const collectorSection: Section<CollectorConfig> = {
  name: 'collector',
  topics: {
    listen: ['collector', 'Who this collector is'],
    bodyBytesMax: ['bodies', 'How large requests may be, and how many wait'],
    senderSamplesPerSecond: ['limits', 'How much a sender and a tenant may send'],
    journalBytesMax: ['journal', 'The journal on disk'],
    batchIntervalMs: ['forward', 'How samples go on to the aggregator'],
    futureMaxMs: ['samples', 'Which samples and series are taken'],
    eventsOpenTenants: ['events', 'Events, and Kafka REST'],
    rules: ['rules', 'Aggregation rules'],
    quotaLeases: ['leases', 'Quotas, decided where they are asked for'],
    host: ['host', "This host's own figures"],
    stopDeadlineMs: ['stop', 'The end'],
  },
  reloads: [
    'decodedBytesMax',
    'samplesPerBodyMax',
    'senderSamplesPerSecond',
    'senderBurstSeconds',
    'tenantSamplesPerSecond',
    'tenantBurstSeconds',
    'tenantsMax',
    'forwardToken',
    'seriesMax',
    'seriesPerTenantMax',
    'seriesPerSenderMax',
    'overflowSeriesMax',
    'metadataBytesMax',
    'labelCountMax',
    'labelNameBytesMax',
    'labelValueBytesMax',
    'rules',
  ],
  settings: {
    listen: text('127.0.0.1:8742', 'Address to listen on, host:port.', { aliases: ['BIND_ADDR'] }),
    id: text(
      '',
      'Name of this collector, the same over restarts. Absent: made at the first start and kept in the data directory.',
      { aliases: ['NODE_ID'] },
    ),
    shards: integer(
      0,
      0,
      64,
      'Threads that decode and journal; a sender always meets the same one. 0: one for four processors, at least one, at most four.',
    ),
    bodyBytesMax: bytes(32 * MIB, KIB, 'Largest request body; more is answered 413.', {
      aliases: ['XTRACE_MAX_REQUEST_BODY_BYTES'],
    }),
    decodedBytesMax: bytes(
      128 * MIB,
      KIB,
      'Largest size that a compressed body may decode to, read from its first bytes before anything is allocated.',
    ),
    samplesPerBodyMax: integer(
      200_000,
      1,
      1_000_000,
      'Most samples in a request; usual senders send 2,000 to 10,000. More is answered 400, and nothing of it is taken.',
    ),
    receivingBytesMax: bytes(
      256 * MIB,
      MIB,
      'Bodies that are on their way in, together; beyond it senders are answered 503 and send again.',
    ),
    waitingBytesMax: bytes(
      64 * MIB,
      KIB,
      'Bodies of a shard that wait for its thread; beyond it senders are answered 503 and send again.',
    ),
    waitingBodiesMax: integer(10_000, 1, 1_000_000, 'The same, as a number of bodies.'),
    waitingMsMax: integer(
      1000,
      10,
      60_000,
      'How long a body may wait for its thread, ms; what would wait longer is answered 503 at once, before it is read.',
    ),
    // None by default: what an honest sender needs differs from fleet to fleet, and Prometheus drops what is answered 429.
    senderSamplesPerSecond: integer(
      0,
      0,
      1_000_000_000,
      'Samples a second that a sender (credential and address) may send to this collector; beyond it 429 with Retry-After. 0: no limit.',
    ),
    senderBurstSeconds: integer(
      10,
      1,
      3600,
      'How many seconds of that a sender may send at once, when it sent less before.',
    ),
    tenantSamplesPerSecond: integer(
      0,
      0,
      1_000_000_000,
      'The same for all senders of a tenant together, at this collector. 0: no limit.',
    ),
    tenantBurstSeconds: integer(10, 1, 3600, 'How many seconds of that a tenant may send at once.'),
    tenantsMax: integer(
      1000,
      1,
      10_000,
      'Tenants that this collector takes samples for, and as many that events name; one more is answered 503, an event of it is refused. Those that the configuration names are always taken.',
    ),
    journalBytesMax: bytes(
      4 * GIB,
      MIB,
      'Disk for what the aggregator has not stored yet, for each shard; beyond it senders are answered 503.',
    ),
    journalSegmentBytes: bytes(
      32 * MIB,
      64 * KIB,
      'A journal file is closed at about this size and removed once all of it is stored.',
    ),
    journalSync: oneOf(
      ['second', 'write'],
      'second',
      'When the journal is forced to the disk: a power cut may cost what was not. A killed process costs nothing either way.',
    ),
    batchIntervalMs: integer(500, 10, 60_000, 'Longest time that a sample waits to be sent, ms.'),
    batchBytes: bytes(512 * KIB, KIB, 'A batch is sent earlier when it has this size …'),
    batchSamples: integer(
      20_000, // about 15 ms of an aggregator's main thread, in one piece
      1,
      1_000_000,
      '… or this many samples.',
    ),
    inFlightBatchesMax: integer(
      32,
      1,
      1000,
      'Batches of a shard that are sent and not yet stored; beyond it they are read from the journal later.',
    ),
    inFlightBytesMax: bytes(16 * MIB, KIB, 'The same, as bytes.'),
    forwardToken: text(
      '',
      'Token that batches are sent with: of a key of the aggregator that may forward. Absent: the admin token.',
      { secret: true, form: [/^[\x21-\x7e]*$/, 'expected a token without blanks, in ASCII'] },
    ),
    forwardTimeoutMs: integer(30_000, 1000, 600_000, 'A batch that is not answered by then is sent again, ms.'),
    backoffMaxMs: integer(5000, 10, 600_000, 'Longest pause between two attempts while the aggregator is away, ms.'),
    futureMaxMs: integer(600_000, 0, 86_400_000, 'How far ahead of our clock a sample may be, ms.'),
    seriesMax: integer(
      1_000_000,
      1,
      100_000_000,
      'Series that a shard knows at a time; idle ones make room for new ones. Those beyond go into one aggregate a metric.',
    ),
    seriesPerTenantMax: integer(1_000_000, 1, 100_000_000, 'The same, of one tenant.'),
    seriesPerSenderMax: integer(
      500_000,
      1,
      100_000_000,
      'The same, of one sender: credential and address. A sender that names things anew each time leaves room for the others.',
    ),
    overflowSeriesMax: integer(
      500_000,
      0,
      100_000_000,
      'Series beyond these bounds that a shard tells apart in ten minutes, so that repeats do not count twice; more are refused.',
    ),
    metadataBytesMax: bytes(
      16 * MIB,
      KIB,
      'Metadata (types, help texts, units) that a shard passes on in a day; beyond it new ones are refused.',
    ),
    labelCountMax: integer(64, 1, 1000, 'Labels of a series.'),
    labelNameBytesMax: bytes(
      1 * KIB,
      1,
      'Length of a label name, and of a metric name as the value of __name__ by the next limit.',
    ),
    labelValueBytesMax: bytes(8 * KIB, 1, 'Length of a label value.'),
    eventsOpenTenants: list(
      ['*'],
      'Tenants that events without a token (open_writes) may name in `tenant_id`; `*` is any. What names none is of the tenant of such writes.',
      { form: [new RegExp(`^\\*$|${TENANT_FORM[0].source}`), `${TENANT_FORM[1]}, or *`] },
    ),
    eventsPersonal: list(
      ['*:prompt=digest'],
      'What is kept of personal fields, as TENANT:FIELD=KEEP: `whole`, `digest` (length and SHA-256) or `drop`; `*` is every tenant. Decided before anything is on a disk; what is not named is kept whole.',
      { form: PERSONAL_FORM },
    ),
    eventsPerBodyMax: integer(
      10_000,
      1,
      1_000_000,
      'Most events in a request. More is answered 413, and none of it is taken.',
    ),
    eventBytesMax: bytes(
      1 * MIB,
      KIB,
      'Largest event; a larger one is refused, and a letter of Kafka REST is cut off there.',
    ),
    eventsRecentMax: integer(
      400_000,
      0,
      100_000_000,
      'Events whose ids are known, so that one that comes again is answered `duplicate`; some 60 bytes each. What is forgotten is taken again and stored once all the same.',
    ),
    eventsTopics: list([], "Topics of Kafka REST besides the catalogue's.", {
      form: [
        /^[A-Za-z0-9._-]{1,249}$/,
        'expected the name of a Kafka topic: letters, digits, dots, underscores and hyphens',
      ],
    }),
    eventsBasePath: text(
      '',
      'Path in front of those of Kafka REST, such as /kafka, where KAFKA_PROXY_URL has one; without it they are served too.',
      {
        form: [/^$|^\/[^?#\s]*$/, 'expected a path that begins with a slash'],
      },
    ),
    eventsOwnNetworks: list(
      ['127.0.0.0/8', '::1/128'],
      "Networks (CIDR) of this machine's own containers: their events get what is missing of node_id, vm_type, host_name, storage_size and storage_type.",
    ),
    vmType: text('', 'Type of this machine, for its own events.', { aliases: ['VM_TYPE'] }),
    storageSize: text('', 'Its storage, bytes.', {
      aliases: ['STORAGE_SIZE'],
      form: [/^\d*$/, 'expected a number of bytes'],
    }),
    storageType: text('', 'The type of that.', { aliases: ['STORAGE_TYPE'] }),
    rules: rules('Aggregation rules; in the environment as JSON. An empty list: none.'),
    rulesKeepMs: integer(
      300_000,
      0,
      86_400_000,
      'How long after a window was given out samples still change it, ms; later ones are stored as they are.',
    ),
    rulesPointsMax: integer(
      5_000_000,
      1,
      1_000_000_000,
      'Samples in windows of rules, for each shard; 14 bytes each, 22 where they are sorted. Beyond it samples are stored as they are.',
    ),
    rulesGroupsMax: integer(100_000, 1, 100_000_000, 'Groups of a rule, for each shard; beyond it likewise.'),
    // Off: what is lent here is missing elsewhere for a moment, and a lost disk leaves it in doubt. Whoever needs the speed asks for it.
    quotaLeases: flag(
      false,
      'Whether this collector holds slices of quotas, for who is asked for here again and again, and decides about reservations by them, in its own memory and journal. Without: every question goes to an aggregator.',
    ),
    quotaLeaseTimeoutMs: integer(
      2000,
      100,
      60_000,
      "A round about slices, one a second, that is not answered by then is given up, ms; to be less than the aggregator's quota_lease_term_ms.",
    ),
    host: flag(true, "Whether this host's own CPU, memory, disk, network and GPUs are sampled."),
    hostIntervalMs: integer(10_000, 100, 3_600_000, 'How often, ms.'),
    hostFastIntervalMs: integer(
      1000,
      100,
      3_600_000,
      'How often while a task runs on this host, or while somebody asked for it with POST /v1/host/sampling, ms.',
    ),
    hostFastWhileComputing: flag(true, 'Whether processes that compute on a GPU count as such a task.'),
    hostGpus: flag(true, 'Whether nvidia-smi, amd-smi or rocm-smi are asked for GPUs, where they are installed.'),
    hostNebulaNames: flag(
      true,
      'Whether GPUs are given by the names and labels of nebula too (gpu_utilization and three more). For hosts whose nebula node sends them itself: false.',
    ),
    hostToolTimeoutMs: integer(
      20_000, // without its persistence daemon a driver may take seconds for each of eight GPUs
      100,
      600_000,
      'Longest time that such a tool may take to answer, ms; then it is killed, and asked rarely.',
    ),
    hostName: text(
      '',
      "Value of the labels instance and Hostname on this host's own figures. Absent: the host's name.",
      {
        aliases: ['HOST_NAME'],
      },
    ),
    senderIntervalMs: integer(
      10_000,
      0,
      3_600_000,
      'How often it is written who sends what, as samples fleetmeter_sender_…, ms. 0: never, and the first page shows no senders.',
    ),
    stopDeadlineMs: integer(
      8000,
      100,
      600_000,
      'Time to have everything stored after SIGTERM, ms; what is left stays in the journal.',
    ),
  },
}
