/** The settings that collector and aggregator share: where data lies, who may ask, what is logged. */
import type { Section } from './config.ts'
import { flag, integer, list, oneOf, text, urls } from './config.ts'
import type { Key } from './keys.ts'
import { keys } from './keys.ts'
import type { LogLevel } from './log.ts'
import { TENANT_FORM } from './tenants.ts'

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
  readonly logLevel: LogLevel
  readonly stopWithParent: boolean
  readonly fault: string
}

export const sharedSection: Section<SharedConfig> = {
  name: '',
  topics: {
    dataDir: ['data', 'Where everything is kept'],
    token: ['access', 'Who may ask and write, and whose it is'],
    pointsDays: ['together', 'What collectors and aggregator must agree on'],
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
      36_500,
      'How long every sample is kept, days. Collectors refuse what is older than that less a day: give both programs the same.',
      { aliases: ['METRICS_RETENTION_DAYS'] },
    ),
    aggregatorUrl: urls(['http://127.0.0.1:8743'], 'Where collectors forward to; the first that answers is used.'),
    logLevel: oneOf(
      ['debug', 'info', 'warn', 'error', 'silent'],
      'info',
      'Least important log lines that are written to stderr.',
    ),
    stopWithParent: flag(false, 'Stop when stdin closes: set by whoever starts this program as a child.'),
    fault: text('', 'For tests only: the process kills itself at a named place, `point:count`.'),
  },
}
