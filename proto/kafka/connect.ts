/** Kafka as the settings say; whoever is given none has no Kafka. */
import type { Logger } from '../runtime/log.ts'
import { orAborted } from '../runtime/or-aborted.ts'
import type { Service } from '../runtime/service.ts'
import type { SharedConfig } from '../runtime/shared-config.ts'
import type { EventTopics } from './event-message.ts'
import { EventPublisher } from './event-publisher.ts'
import type { Kafka } from './port.ts'

/** @param clientId who we are, in the broker's log @returns undefined where no brokers are set */
export async function kafkaFrom(shared: SharedConfig, clientId: string, log: Logger): Promise<Kafka | undefined> {
  if (shared.kafkaBrokers.length === 0) return undefined
  const { KafkaJs } = await import('./kafkajs.ts') // most have no Kafka: it would cost each start its memory and time
  const { kafkaUser: user, kafkaPassword: password } = shared
  const login = user === '' ? undefined : { user, password }
  return new KafkaJs({
    clientId,
    brokers: shared.kafkaBrokers,
    login,
    tls: shared.kafkaTls === 'auto' ? login !== undefined : shared.kafkaTls === 'on',
    tlsCa: shared.kafkaTlsCa === '' ? undefined : shared.kafkaTlsCa,
    compression: shared.kafkaCompression,
    backoffMaxMs: shared.kafkaBackoffMaxMs,
    log,
    random: Math.random,
  })
}

/** Most events that are on their way at a time, bytes. */
const PUBLISHING_BYTES_MAX = 8 * 1024 * 1024

export function eventPublisher(
  kafka: Kafka,
  shared: SharedConfig,
  log: Logger,
  topics: EventTopics = { topics: shared.kafkaTopics, ownTopic: shared.kafkaOwnTopic },
): EventPublisher {
  return new EventPublisher(kafka, {
    ...topics,
    bytesMax: PUBLISHING_BYTES_MAX,
    backoffMaxMs: shared.kafkaBackoffMaxMs,
    log,
  })
}

/** Closes its connections at the end, when nobody sends and consumes any more. */
export function kafkaService(kafka: Kafka): Service {
  return {
    name: 'kafka',
    start: async () => {},
    stop: (deadline) => orAborted(kafka.close(), deadline),
    health: () => ({ ready: true }),
  }
}
