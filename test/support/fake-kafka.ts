/** A Kafka in memory, for what is decided before a broker: it keeps what it takes, and is away when told so. */
import type { Consumption, Kafka, OutgoingMessage, Place } from '../../proto/kafka/port.ts'
import { bytesOf, REQUEST_BYTES_MAX } from '../../proto/kafka/requests.ts'
import { FleetmeterError } from '../../proto/runtime/errors.ts'

export class FakeKafka implements Kafka {
  readonly address = 'fake:9092'
  readonly taken: OutgoingMessage[] = []
  problem: string | undefined
  away = false
  partitionsOfTopic = 4
  looks = 0

  async connect(): Promise<void> {}

  async send(messages: readonly OutgoingMessage[]): Promise<readonly Place[]> {
    if (this.away) throw new FleetmeterError('FM_KAFKA', 'Cannot produce: nobody is there')
    if (messages.some((message) => bytesOf(message) > REQUEST_BYTES_MAX))
      throw new FleetmeterError('FM_KAFKA_TOO_LARGE', 'Cannot produce: too large')
    this.taken.push(...messages)
    return []
  }

  async existing(topics: readonly string[]): Promise<string[]> {
    return [...topics]
  }

  async ensureTopic(): Promise<void> {
    if (this.away) throw new FleetmeterError('FM_KAFKA', 'Cannot make a topic: nobody is there')
  }

  async partitions(): Promise<number> {
    this.looks++
    return this.partitionsOfTopic
  }

  async offsets(): Promise<ReadonlyMap<number, { first: bigint; end: bigint }>> {
    return new Map()
  }

  async committed(): Promise<ReadonlyMap<number, bigint>> {
    return new Map()
  }

  consume(): Promise<Consumption> {
    return Promise.reject(new Error('nothing is consumed of it'))
  }

  async close(): Promise<void> {}
}
