/**
 * Kafka by kafkajs 2.2, at least once. What is not left to it, and why:
 *
 * - `idempotent: false`, always. Its idempotent producer loses what it acknowledged when a node dies under several sends at once: a
 *   sequence number is used again for other messages, which the broker takes for a repeat.
 * - Producing again, from the first attempt: where one node of several fails, its own next attempt asks only nodes that have not answered
 *   yet. A partition that has moved to one that has is left out, and the whole is called sent. Ours sends all of it again, with pauses
 *   (full jitter, bounded, without end).
 * - Whether every partition was answered for: it leaves out one that it has not heard of yet, without a word.
 * - The size of requests: it knows no bound.
 * - Who leads a partition: a consumer asks every five seconds.
 * - Consuming again after a crash: whoever consumes decides on the pause.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Admin, Kafka as Client, Consumer, KafkaConfig, Producer } from 'kafkajs'
import kafkajs from 'kafkajs'
import { FleetmeterError } from '../runtime/errors.ts'
import type { Logger } from '../runtime/log.ts'
import { RateLimitedLog } from '../runtime/log.ts'
import { installCodecs } from './codecs.ts'
import { consumeWith } from './kafkajs-consumer.ts'
import { ourError } from './kafkajs-errors.ts'
import type { ConsumeOptions, Consumption, Kafka, OutgoingMessage, Place } from './port.ts'
import { bytesOf, REQUEST_BYTES_MAX, requestsOf } from './requests.ts'

export interface KafkaLogin {
  readonly user: string
  readonly password: string
}

export interface KafkaJsOptions {
  /** Who we are, in the broker's log. */
  readonly clientId: string
  /** Addresses to begin with, host:port. */
  readonly brokers: readonly string[]
  readonly login?: KafkaLogin | undefined
  readonly tls: boolean
  /** File of the certificates to trust, PEM; absent: those of the system. */
  readonly tlsCa?: string | undefined
  readonly compression: 'gzip' | 'none'
  /** Longest pause between two attempts, ms. */
  readonly backoffMaxMs: number
  /** An answer that is not there by then will not come, ms. */
  readonly requestTimeoutMs?: number
  /** A member of a group that says nothing for so long is taken for dead, ms. */
  readonly sessionTimeoutMs?: number
  readonly log: Logger
  /** 0 to 1, for jitter. */
  readonly random: () => number
}

// What Azure Event Hubs asks of clients, and nobody else minds.
const REQUEST_TIMEOUT_MS = 60_000
/** A member that died keeps its partitions for so long; Azure takes 6 s to 300 s. */
const SESSION_TIMEOUT_MS = 10_000
const METADATA_MAX_AGE_MS = 180_000
/**
 * kafkajs fetches a partition from the leader that it knows, and asks anew only after this: metadata of the midst of an election names
 * no leader, and the partition would stand still for minutes after a node died.
 */
const CONSUMER_METADATA_MAX_AGE_MS = 5000
const CONNECT_TIMEOUT_MS = 5000
const BACKOFF_MIN_MS = 100
/** Of everything but produce: some elections' time; then whoever asked tries again. */
const OWN_RETRIES = { retries: 3, initialRetryTime: BACKOFF_MIN_MS, maxRetryTime: 1000 }
/** A leader that moves costs about so many, and is nobody's business. */
const ATTEMPTS_IN_SILENCE = 3
const ACKS_OF_ALL = -1
/** One line of a kind in so long: while a broker is away the client has much to say. */
const LOG_EVERY_MS = 30_000

export class KafkaJs implements Kafka {
  readonly address: string
  readonly #options: KafkaJsOptions
  readonly #client: Client
  readonly #producer: Producer
  readonly #often: RateLimitedLog
  /** Where the partitioner has put messages that are under way. */
  readonly #chosen = new WeakMap<kafkajs.Message, number>()
  #producing = false
  #admin: Promise<Admin> | undefined
  #problem: string | undefined
  readonly #topics = new Set<string>()
  readonly #consumptions = new Set<Consumption>()

  constructor(options: KafkaJsOptions) {
    installCodecs()
    this.#options = options
    this.address = options.brokers.join(',')
    this.#often = new RateLimitedLog(LOG_EVERY_MS, () => performance.now())
    this.#client = new kafkajs.Kafka(this.#config())
    this.#producer = this.#client.producer({
      idempotent: false,
      allowAutoTopicCreation: false, // ensureTopic() says why it cannot
      metadataMaxAge: METADATA_MAX_AGE_MS,
      createPartitioner: () => {
        const choose = kafkajs.Partitioners.DefaultPartitioner()
        return (args) => {
          const partition = choose(args)
          if (!args.partitionMetadata.some(({ partitionId }) => partitionId === partition))
            throw unknownPartition(args.topic, partition)
          this.#chosen.set(args.message, partition)
          return partition
        }
      },
      retry: { retries: 0 },
    })
  }

  #config(): KafkaConfig {
    const { clientId, brokers, login, tls, tlsCa, requestTimeoutMs = REQUEST_TIMEOUT_MS } = this.#options
    return {
      clientId,
      brokers: [...brokers],
      ssl: tls ? (tlsCa === undefined ? true : { ca: [readFileSync(tlsCa, 'utf8')] }) : false,
      ...(login === undefined ? {} : { sasl: { mechanism: 'plain', username: login.user, password: login.password } }),
      requestTimeout: requestTimeoutMs,
      connectionTimeout: Math.min(CONNECT_TIMEOUT_MS, requestTimeoutMs),
      authenticationTimeout: requestTimeoutMs,
      retry: OWN_RETRIES,
      logLevel: kafkajs.logLevel.WARN,
      // Its errors are those of attempts: what comes of them is said by whoever asked.
      logCreator: () => (entry) => {
        const { message, error } = entry.log
        this.#often.once(`${entry.namespace} ${message}`, (held) =>
          this.#options.log.debug({ client: entry.namespace, error, held }, message),
        )
      },
    }
  }

  get #login(): string {
    return this.#options.login?.user ?? ''
  }

  get problem(): string | undefined {
    return this.#problem
  }

  connect(): Promise<void> {
    return this.#asking(`Cannot log in to Kafka at ${this.address}`, () => this.#connectProducer())
  }

  async #connectProducer(): Promise<void> {
    if (this.#producing) return
    await this.#producer.connect()
    this.#producing = true
  }

  async send(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly Place[]> {
    for (const message of messages) {
      const size = bytesOf(message)
      if (size > REQUEST_BYTES_MAX)
        throw new FleetmeterError(
          'FM_KAFKA_TOO_LARGE',
          `Cannot produce to "${message.topic}": the message takes ${size} bytes, at most ${REQUEST_BYTES_MAX} go into a request`,
        )
    }
    const places: Place[] = []
    for (const request of requestsOf(messages, REQUEST_BYTES_MAX))
      places.push(...(await this.#produce(request, signal)))
    return places
  }

  async #produce(request: readonly OutgoingMessage[], signal: AbortSignal): Promise<Place[]> {
    const action = `Cannot produce to "${request[0]!.topic}"`
    for (let attempt = 0; ; attempt++) {
      signal.throwIfAborted()
      try {
        await this.#connectProducer()
        const topicMessages = byTopic(request)
        const written = await this.#producer.sendBatch({
          acks: ACKS_OF_ALL,
          timeout: this.#options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS,
          compression: kafkajs.CompressionTypes[this.#options.compression === 'gzip' ? 'GZIP' : 'None'],
          topicMessages,
        })
        this.#mustBeWhole(topicMessages, written)
        this.#problem = undefined
        return written.map(({ topicName, partition, baseOffset }) => ({
          topic: topicName,
          partition,
          offset: BigInt(baseOffset ?? -1),
        }))
      } catch (error) {
        const ours = ourError(error, action, this.#login)
        if (!ours.retryable) throw ours
        if (attempt >= ATTEMPTS_IN_SILENCE) {
          this.#problem = ours.message
          this.#often.once(action, (held) =>
            this.#options.log.warn({ error: ours.message, held }, 'kafka does not take messages, they are sent again'),
          )
        }
        const pause = Math.min(this.#options.backoffMaxMs, BACKOFF_MIN_MS * 2 ** Math.min(attempt, 20))
        await sleep(this.#options.random() * pause, undefined, { signal })
      }
    }
  }

  /** Throws where a message's partition is not among those that brokers have answered for. */
  #mustBeWhole(sent: readonly kafkajs.TopicMessages[], written: readonly kafkajs.RecordMetadata[]): void {
    const answered = new Set(written.map(({ topicName, partition }) => `${topicName}/${partition}`))
    for (const { topic, messages } of sent)
      for (const message of messages) {
        const partition = this.#chosen.get(message)
        if (!answered.has(`${topic}/${partition}`))
          throw new FleetmeterError('FM_KAFKA', `no broker has answered for partition ${partition} of "${topic}"`)
      }
  }

  existing(topics: readonly string[]): Promise<string[]> {
    return this.#administer(`Cannot list the topics of ${this.address}`, async (admin) => {
      const all = new Set(await admin.listTopics())
      return topics.filter((topic) => all.has(topic))
    })
  }

  async ensureTopic(topic: string): Promise<void> {
    if (this.#topics.has(topic)) return
    await this.#administer(`Cannot make the topic "${topic}"`, async (admin) => {
      // Somebody else may make it at the same moment: then it says false.
      if (!(await admin.listTopics()).includes(topic)) await admin.createTopics({ topics: [{ topic }] })
    })
    this.#topics.add(topic)
  }

  async partitions(topic: string): Promise<number> {
    return this.#administer(`Cannot look at the topic "${topic}"`, async (admin) => {
      const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
      return topics[0]?.partitions.length ?? 0
    })
  }

  offsets(topic: string): Promise<ReadonlyMap<number, { first: bigint; end: bigint }>> {
    return this.#administer(`Cannot read the offsets of "${topic}"`, async (admin) => {
      const all = await admin.fetchTopicOffsets(topic)
      return new Map(all.map(({ partition, low, high }) => [partition, { first: BigInt(low), end: BigInt(high) }]))
    })
  }

  committed(group: string, topic: string): Promise<ReadonlyMap<number, bigint>> {
    return this.#administer(`Cannot read what group "${group}" has committed`, async (admin) => {
      const [found] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
      const known = (found?.partitions ?? []).filter(({ offset }) => BigInt(offset) >= 0n)
      return new Map(known.map(({ partition, offset }) => [partition, BigInt(offset)]))
    })
  }

  consume(options: ConsumeOptions): Promise<Consumption> {
    const { group, topics } = options
    return this.#asking(`Cannot consume ${topics.map((topic) => `"${topic}"`).join(', ')}`, async () => {
      const { sessionTimeoutMs = SESSION_TIMEOUT_MS } = this.#options
      const consumer: Consumer = this.#client.consumer({
        groupId: group,
        sessionTimeout: sessionTimeoutMs,
        rebalanceTimeout: Math.max(60_000, sessionTimeoutMs),
        heartbeatInterval: sessionTimeoutMs / 10,
        metadataMaxAge: CONSUMER_METADATA_MAX_AGE_MS,
        allowAutoTopicCreation: false,
        maxBytesPerPartition: options.batchBytes,
        maxWaitTimeInMs: 300, // a paused partition is looked at again only after this
        retry: { ...OWN_RETRIES, restartOnFailure: async () => false },
      })
      const consumption = await consumeWith(consumer, options, sessionTimeoutMs / 10, (error) =>
        ourError(error, `Consuming as group "${group}" has ended`, this.#login),
      )
      this.#consumptions.add(consumption)
      return {
        stop: async () => {
          this.#consumptions.delete(consumption)
          await consumption.stop()
        },
      }
    })
  }

  async close(): Promise<void> {
    await Promise.all([...this.#consumptions].map((consumption) => consumption.stop()))
    this.#consumptions.clear()
    await this.#admin?.then((admin) => admin.disconnect()).catch(() => {}) // it never was
    await this.#producer.disconnect()
    this.#producing = false
  }

  async #administer<T>(action: string, ask: (admin: Admin) => Promise<T>): Promise<T> {
    return this.#asking(action, async () => {
      this.#admin ??= this.#connectAdmin()
      return ask(await this.#admin)
    })
  }

  async #connectAdmin(): Promise<Admin> {
    try {
      const admin = this.#client.admin()
      await admin.connect()
      return admin
    } catch (error) {
      this.#admin = undefined
      throw error
    }
  }

  async #asking<T>(action: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await ask()
    } catch (error) {
      throw ourError(error, action, this.#login)
    }
  }
}

/** By its name kafkajs knows that it has to ask about the topic anew; its own class of this name takes no message by its types. */
function unknownPartition(topic: string, partition: number): Error {
  const error = new kafkajs.KafkaJSError(`partition ${partition} of "${topic}" is not known yet`)
  return Object.assign(error, { name: 'KafkaJSMetadataNotLoaded' })
}

function byTopic(request: readonly OutgoingMessage[]): { topic: string; messages: kafkajs.Message[] }[] {
  const topics = new Map<string, kafkajs.Message[]>()
  for (const { topic, key, value, headers, partition } of request) {
    let messages = topics.get(topic)
    if (messages === undefined) {
      messages = []
      topics.set(topic, messages)
    }
    const bytes: Record<string, Buffer | string> = {}
    for (const [name, content] of Object.entries(headers ?? {}))
      bytes[name] = typeof content === 'string' ? content : Buffer.from(content)
    messages.push({
      key: key === null || typeof key === 'string' ? key : Buffer.from(key),
      value: value === null ? null : Buffer.from(value.buffer, value.byteOffset, value.byteLength),
      headers: bytes,
      ...(partition === undefined ? {} : { partition }),
    })
  }
  return [...topics].map(([topic, messages]) => ({ topic, messages }))
}
