/** The settings that collector and aggregator share: where data lies, who may ask, what is logged. */
import type { Section } from './config.ts'
import { flag, integer, list, oneOf, text, urls } from './config.ts'
import type { Key } from './keys.ts'
import { keys } from './keys.ts'
import type { LogLevel } from './log.ts'
import { TENANT_FORM } from './tenants.ts'

/** Longer, and a row would have to go after 2106, which ClickHouse's times do not hold: it would go at once. */
export const KEPT_DAYS_MAX = 18_250

export interface SharedConfig {
  readonly dataDir: string
  readonly token: string
  readonly publicKey: string
  readonly secretKey: string
  readonly openWrites: readonly string[]
  readonly openMetrics: readonly string[]
  readonly tenant: string
  readonly keys: readonly Key[]
  readonly openWriteTenants: readonly string[]
  readonly pointsDays: number
  readonly aggregatorUrl: readonly string[]
  readonly kafkaBrokers: readonly string[]
  readonly kafkaUser: string
  readonly kafkaPassword: string
  readonly kafkaTls: 'auto' | 'on' | 'off'
  readonly kafkaTlsCa: string
  readonly kafkaTopics: readonly string[]
  readonly kafkaOwnTopic: string
  readonly kafkaSamples: boolean
  readonly kafkaSamplesTopic: string
  readonly kafkaCompression: 'gzip' | 'none'
  readonly kafkaBackoffMaxMs: number
  readonly logLevel: LogLevel
  readonly stopWithParent: boolean
  readonly fault: string
}

/** Those of the event catalogue. */
const EVENT_TOPICS = [
  'xumi_load',
  'xumi_task',
  'kubernetes',
  'pbac_access',
  'pbac_service',
  'pbac_politics',
  'asset_access',
  'asset_transfer',
  'wkf_cpu',
  'wkf_gpu',
  'wkf_task',
  'kuber_cpu',
  'kuber_gpu',
]
const TOPIC_FORM: readonly [RegExp, string] = [
  /^[A-Za-z0-9._-]{1,249}$/,
  'expected the name of a topic: letters, digits, dots, dashes and underscores',
]

export const sharedSection: Section<SharedConfig> = {
  name: '',
  topics: {
    dataDir: ['data', 'Where everything is kept'],
    token: ['access', 'Who may ask and write, and whose it is'],
    pointsDays: ['together', 'What collectors and aggregator must agree on'],
    kafkaBrokers: ['kafka', 'Kafka, between collectors and aggregators and from other producers'],
    logLevel: ['process', 'The process itself'],
  },
  reloads: ['token', 'publicKey', 'secretKey', 'openWrites', 'openMetrics', 'keys', 'openWriteTenants', 'logLevel'],
  settings: {
    dataDir: text(
      './data',
      'Directory for everything that is kept: journals, the embedded engine, the token. One process of a kind at a time.',
    ),
    token: text(
      '',
      'The admin token: may do everything, in any tenant. Absent: made at the first start and kept in DATA_DIR/token, mode 0600.',
      { aliases: ['API_BEARER_TOKEN'], secret: true },
    ),
    publicKey: text('', 'User name for HTTP Basic, as Langfuse clients send it; needs the secret key too.', {
      aliases: ['XTRACE_PUBLIC_KEY', 'LANGFUSE_PUBLIC_KEY'],
    }),
    secretKey: text('', 'Password for HTTP Basic.', {
      aliases: ['XTRACE_SECRET_KEY', 'LANGFUSE_SECRET_KEY'],
      secret: true,
    }),
    openWrites: list(
      ['127.0.0.0/8', '::1/128'],
      'Networks (CIDR) that may send remote write without a token, since its clients often send none. A token that is sent must be valid.',
    ),
    openMetrics: list(['127.0.0.0/8', '::1/128'], 'Networks (CIDR) that may read /metrics without a token.'),
    tenant: text(
      'default',
      "Tenant of this host's own figures, of what comes with the admin token and of what comes without any.",
      { aliases: ['TENANT_ID', 'DEFAULT_PROJECT_ID'], form: TENANT_FORM },
    ),
    keys: keys(
      'Tokens of tenants, and of collectors that do not have the admin token; see *Tenants and keys*. In the environment as JSON.',
    ),
    openWriteTenants: list(
      [],
      'Tenants that X-Scope-OrgID may choose where no token is needed (open_writes); `*` is any. Without it such writes are of the tenant above.',
      { form: [new RegExp(`^\\*$|${TENANT_FORM[0].source}`), `${TENANT_FORM[1]}, or *`] },
    ),
    pointsDays: integer(
      30,
      2,
      KEPT_DAYS_MAX,
      'How long every sample is kept, days. Collectors refuse what is older than that less a day: give both programs the same.',
      { aliases: ['METRICS_RETENTION_DAYS'] },
    ),
    aggregatorUrl: urls(['http://127.0.0.1:8743'], 'Where collectors forward to; the first that answers is used.'),
    kafkaBrokers: list(
      [],
      'Where Kafka is, host:port; several, comma separated. Then a collector puts events on their topics instead of sending them over HTTP, and an aggregator consumes them: set it on both. Absent: no Kafka. Azure Event Hubs: NAMESPACE.servicebus.windows.net:9093.',
      {
        aliases: ['KAFKA_BROKERS', 'KAFKA_DIRECT_URL'],
        form: [/^[^\s/:@]+:\d{1,5}$/, 'expected an address such as kafka:9092'],
      },
    ),
    kafkaUser: text('', 'User for SASL PLAIN; of Azure Event Hubs `$ConnectionString`, as it is. Absent: no login.', {
      aliases: ['KAFKA_USER'],
    }),
    kafkaPassword: text('', 'Its password; of Azure Event Hubs the whole connection string.', {
      aliases: ['KAFKA_PASSWORD'],
      secret: true,
    }),
    kafkaTls: oneOf(
      ['auto', 'on', 'off'],
      'auto',
      'Whether connections to Kafka are encrypted. auto: where there is a login.',
      {
        aliases: ['KAFKA_TLS'],
      },
    ),
    kafkaTlsCa: text('', "File of the certificates that Kafka's are checked with, PEM. Absent: those of the system.", {
      aliases: ['KAFKA_TLS_CA'],
    }),
    kafkaTopics: list(
      EVENT_TOPICS,
      'Topics of events: consumed, and produced to. One that does not exist yet is waited for. Events of other topics go to the own one.',
      { aliases: ['KAFKA_TOPICS'], form: TOPIC_FORM },
    ),
    kafkaOwnTopic: text('fleetmeter.events', 'Topic for what belongs to none of these; made when it is not there.', {
      form: TOPIC_FORM,
    }),
    kafkaSamples: flag(
      false,
      'Whether samples too go to the aggregators by Kafka instead of HTTP: give all collectors and aggregators the same.',
    ),
    kafkaSamplesTopic: text('fleetmeter.samples', 'Topic of these; made when it is not there.', { form: TOPIC_FORM }),
    kafkaCompression: oneOf(
      ['gzip', 'none'],
      'none',
      'How what we produce is compressed. What others produce is read in any way. Azure Event Hubs takes gzip in its dearer tiers only.',
    ),
    kafkaBackoffMaxMs: integer(5000, 10, 600_000, 'Longest pause between two attempts while Kafka is away, ms.'),
    logLevel: oneOf(
      ['debug', 'info', 'warn', 'error', 'silent'],
      'info',
      'Least important log lines that are written to stderr.',
    ),
    stopWithParent: flag(false, 'Stop when stdin closes: set by whoever starts this program as a child.'),
    fault: text('', 'For tests only: the process kills itself at a named place, `point:count`.'),
  },
}
