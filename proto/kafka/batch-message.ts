/**
 * A batch of samples as messages of Kafka: its bytes, in parts where they are more than a request takes.
 *
 *     key      collector/shard; the partition is chosen once a session and kept, so that one reader has all of it in order
 *     headers  fm.batch  id of this sending     fm.part  "number/of"
 *              fm.described-from  offset in this partition: every series of this batch is described in it, or between there and it
 */
import type { OutgoingMessage, ReceivedMessage } from './port.ts'

const PART_BYTES = 900_000
/** Parts of batches that are not whole, of a partition; beyond it the oldest is given up. */
const INCOMPLETE_BYTES_MAX = 128 * 1024 * 1024
/** Who sends gives all parts of a batch within so long, or all of them anew, ms. */
export const SENDING_MS_MAX = 300_000
/** So, a batch that lacks parts so long after is one that nobody was told is stored: its sender died in the midst, ms. */
export const INCOMPLETE_MS_MAX: number = 2 * SENDING_MS_MAX

export interface BatchAddress {
  readonly topic: string
  readonly partition: number
  readonly key: string
  /** Different for each sending. */
  readonly id: string
  /** Absent: the batch describes all that it needs. */
  readonly describedFrom: bigint | undefined
}

export function batchMessages(
  bytes: Uint8Array,
  { topic, partition, key, id, describedFrom }: BatchAddress,
): OutgoingMessage[] {
  const count = Math.max(1, Math.ceil(bytes.length / PART_BYTES))
  return Array.from({ length: count }, (_, i) => ({
    topic,
    partition,
    key,
    value: bytes.subarray(i * PART_BYTES, (i + 1) * PART_BYTES),
    headers: {
      'fm.batch': id,
      'fm.part': `${i + 1}/${count}`,
      ...(describedFrom === undefined ? {} : { 'fm.described-from': String(describedFrom) }),
    },
  }))
}

export interface AssembledBatch {
  readonly bytes: Uint8Array
  /** Of its first part. */
  readonly offset: bigint
  readonly describedFrom: bigint | undefined
  readonly messages: readonly ReceivedMessage[]
}

interface Incomplete {
  readonly parts: (ReceivedMessage | undefined)[]
  readonly since: number
}

/** Puts the parts of a partition's batches together again. */
export class BatchAssembler {
  readonly #incomplete = new Map<string, Incomplete>()
  #bytes = 0

  /** The offset of the first part that still waits for others; undefined when none does. */
  get waitsFrom(): bigint | undefined {
    let first: bigint | undefined
    for (const { parts } of this.#incomplete.values())
      for (const part of parts)
        if (part !== undefined && (first === undefined || part.offset < first)) first = part.offset
    return first
  }

  /**
   * @param now ms, of a clock that is never set back
   * @returns the batch that is whole with this message; 'foreign' for one that is no part of any
   */
  add(message: ReceivedMessage, now: number): AssembledBatch | 'foreign' | undefined {
    const id = textOf(message.headers['fm.batch'])
    const place = /^(\d{1,4})\/(\d{1,4})$/.exec(textOf(message.headers['fm.part']))
    const [number, count] = [Number(place?.[1]), Number(place?.[2])]
    if (id === '' || message.value === null || !(number >= 1 && number <= count)) return 'foreign'
    const incomplete = this.#incomplete.get(id) ?? { parts: new Array(count).fill(undefined), since: now }
    const { parts } = incomplete
    if (parts.length !== count) return 'foreign'
    if (parts[number - 1] === undefined) this.#bytes += message.value.length // else it was produced twice
    parts[number - 1] = message
    this.#incomplete.set(id, incomplete)
    if (parts.includes(undefined)) {
      if (this.#bytes > INCOMPLETE_BYTES_MAX) this.#drop(this.#incomplete.keys().next().value!)
      return undefined
    }
    this.#drop(id)
    const messages = parts.filter((part) => part !== undefined)
    const from = textOf(messages[0]!.headers['fm.described-from'])
    return {
      bytes: count === 1 ? message.value : Buffer.concat(messages.map(({ value }) => value!)),
      offset: messages.map(({ offset }) => offset).sort(byNumber)[0]!,
      describedFrom: /^\d{1,19}$/.test(from) ? BigInt(from) : undefined,
      messages,
    }
  }

  /** Gives up what lacks parts since before a time; to be called where everything on the topic was read. */
  expire(before: number): void {
    for (const [id, { since }] of this.#incomplete) if (since < before) this.#drop(id)
  }

  /** Reading goes back: what is there will come again. */
  clear(): void {
    this.#incomplete.clear()
    this.#bytes = 0
  }

  #drop(id: string): void {
    for (const part of this.#incomplete.get(id)?.parts ?? []) this.#bytes -= part?.value?.length ?? 0
    this.#incomplete.delete(id)
  }
}

function byNumber(a: bigint, b: bigint): number {
  return a < b ? -1 : 1
}

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : Buffer.from(bytes).toString('utf8')
}
