/** Errors of kafkajs as ours: by their class and by Kafka's own code, never by words. */
import { FleetmeterError } from '../runtime/errors.ts'

/** Kafka's codes for what will not be otherwise the next time. */
const REFUSED: ReadonlySet<string> = new Set([
  'SASL_AUTHENTICATION_FAILED',
  'UNSUPPORTED_SASL_MECHANISM',
  'TOPIC_AUTHORIZATION_FAILED',
  'GROUP_AUTHORIZATION_FAILED',
  'CLUSTER_AUTHORIZATION_FAILED',
  'INVALID_TOPIC_EXCEPTION',
  'INVALID_REPLICATION_FACTOR',
  'POLICY_VIOLATION',
])
const TOO_LARGE: ReadonlySet<string> = new Set(['MESSAGE_TOO_LARGE', 'RECORD_LIST_TOO_LARGE'])

interface Foreign {
  readonly name: string
  readonly message: string
  readonly type?: unknown
  readonly cause?: unknown
}

/** @param action what was tried, with its object: `Cannot produce to "x"` */
export function ourError(error: unknown, action: string, login: string): FleetmeterError {
  if (error instanceof FleetmeterError) return error
  const root = rootOf(error)
  const type = typeof root.type === 'string' ? root.type : ''
  if (root.name === 'KafkaJSSASLAuthenticationError' || type === 'SASL_AUTHENTICATION_FAILED')
    return new FleetmeterError(
      'FM_KAFKA_REFUSED',
      `${action}: the broker refuses the login as "${login}" (${root.message}): look at KAFKA_USER and KAFKA_PASSWORD`,
      { cause: error },
    )
  if (REFUSED.has(type))
    return new FleetmeterError('FM_KAFKA_REFUSED', `${action}: ${root.message} (${type})`, { cause: error })
  if (TOO_LARGE.has(type))
    return new FleetmeterError('FM_KAFKA_TOO_LARGE', `${action}: ${root.message}`, { cause: error })
  return new FleetmeterError('FM_KAFKA', `${action}: ${root.message}${type === '' ? '' : ` (${type})`}`, {
    cause: error,
  })
}

/** kafkajs wraps what it gave up retrying. */
function rootOf(error: unknown): Foreign {
  const { name = 'Error', message = String(error), type, cause } = (error ?? {}) as Partial<Foreign>
  return cause !== undefined && type === undefined ? rootOf(cause) : { name, message, type }
}
