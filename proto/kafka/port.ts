/**
 * What this program asks of Kafka, and no more: the only words that the rest of it knows. One adapter behind it, kafkajs.ts; another
 * client is another file like it and the same contract test.
 *
 * Everything is at least once. What is sent may be on the topic twice, what is consumed may come again: identity is in the messages.
 */

/** Names are said once; a text is its UTF-8. */
export type MessageHeaders = Readonly<Record<string, string | Uint8Array>>

export interface OutgoingMessage {
  readonly topic: string
  /** Messages of one key are on one partition: murmur2 of its bytes, as Java clients have it. */
  readonly key: string | Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers?: MessageHeaders
  /** Instead of the one that the key chooses. */
  readonly partition?: number
}

/** Where messages of one request came to be. */
export interface Place {
  readonly topic: string
  readonly partition: number
  /** Of the first of them. */
  readonly offset: bigint
}

export interface ReceivedMessage {
  readonly offset: bigint
  /** When its producer made it, or the broker took it, as the topic is set; ms. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: Readonly<Record<string, Uint8Array>>
}

/** Some messages of a partition, in their order. */
export interface ReceivedBatch {
  readonly topic: string
  readonly partition: number
  /** The offset that the next message to be produced gets. */
  readonly end: bigint
  readonly messages: readonly ReceivedMessage[]
}

/** What may be done with the partition of a batch while this process has it. */
export interface Lease {
  /** Aborted when another member of the group is getting the partition, and when consuming stops. */
  readonly lost: AbortSignal
  /** Everything before `next` is done: whoever has the partition afterwards begins there. Rejects when it is ours no more. */
  commit(next: bigint): Promise<void>
  /** What comes next begins at `next`, though it is not committed. */
  pass(next: bigint): void
  /** Nothing more of this partition for so long; then what was not committed comes again. */
  pause(ms: number): void
  /** What comes next begins there. */
  seek(offset: bigint): void
}

export interface ConsumeOptions {
  readonly group: string
  readonly topics: readonly string[]
  /** Largest number of partitions whose batches are worked on at a time. */
  readonly concurrency: number
  /** Most of a partition in one batch, bytes. */
  readonly batchBytes: number
  /**
   * Called with the batches of a partition one after another. What is not committed when it resolves comes again, at once unless the
   * partition is paused. It may take as long as it needs: the group is told meanwhile that this member lives.
   */
  readonly onBatch: (batch: ReceivedBatch, lease: Lease) => Promise<void>
  /** The partitions that this member has now. */
  readonly onAssigned?: (assigned: Readonly<Record<string, readonly number[]>>) => void
  /** Consuming has ended by itself, and nothing comes any more. */
  readonly onEnd: (error: Error) => void
}

export interface Consumption {
  /** Resolves when the batches under way are finished and the group knows that this member is gone. */
  stop(): Promise<void>
}

/** Rejects with FleetmeterError: `FM_KAFKA` can be tried again, `FM_KAFKA_REFUSED` and `FM_KAFKA_TOO_LARGE` cannot. */
export interface Kafka {
  /** For a person: the addresses that clients begin with. */
  readonly address: string
  /** Why what is sent does not get through at the moment; undefined while it does. */
  readonly problem: string | undefined
  /** Looks whether there is a broker that lets us in. One attempt. */
  connect(): Promise<void>
  /**
   * Resolves when every message is on as many nodes as its topic asks for. Tries without end what can be tried again, with pauses.
   * Cut into requests that a broker takes. Some may be on their topic when it rejects.
   */
  send(messages: readonly OutgoingMessage[], signal: AbortSignal): Promise<readonly Place[]>
  /** Those of the topics that exist. */
  existing(topics: readonly string[]): Promise<string[]>
  /** Makes a topic with the cluster's defaults, unless it exists. */
  ensureTopic(topic: string): Promise<void>
  /** How many partitions a topic has. */
  partitions(topic: string): Promise<number>
  /** For each partition of a topic: the first offset and the one that its next message gets. */
  offsets(topic: string): Promise<ReadonlyMap<number, { readonly first: bigint; readonly end: bigint }>>
  /** For each partition of a topic that a group has committed: where it goes on. */
  committed(group: string, topic: string): Promise<ReadonlyMap<number, bigint>>
  consume(options: ConsumeOptions): Promise<Consumption>
  close(): Promise<void>
}
