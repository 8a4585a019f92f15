/**
 * One membership of a group by kafkajs.
 *
 *     fetch ──▶ batches of the fetch, each to onBatch ──▶ the next fetch, when all of them are done
 *
 * So a batch that waits holds up the partitions of its broker: pause the partition and return instead. What is not committed is
 * fetched again. While a batch is under way the group is told that we live; when it answers that others get the partitions, the
 * lease is lost and what kafkajs threw is thrown on, since that makes it join again.
 *
 * It is stopped from inside, by an error that ends its next fetch: it then finishes what is under way, leaves the group and closes its
 * connections. To be told to stop while it divides the nodes of a cluster that has gained or lost one among its fetchers, it does not
 * bear: the new fetchers find that it has stopped, and ask whether they may fetch for ever, without a pause for anybody else.
 */
import type { Consumer, EachBatchPayload } from 'kafkajs'
import kafkajs from 'kafkajs'
import type { ConsumeOptions, Consumption, Lease, ReceivedBatch } from './port.ts'

/** @param ended what an error that ended it is for us */
export async function consumeWith(
  consumer: Consumer,
  options: ConsumeOptions,
  heartbeatMs: number,
  ended: (error: unknown) => Error,
): Promise<Consumption> {
  const stopping = new AbortController()
  const timers = new Set<NodeJS.Timeout>()
  let running = true
  const finish = (): void => {
    running = false
    stopping.abort(new Error('consuming stops'))
    for (const timer of timers) clearTimeout(timer)
  }
  const left = new Promise<void>((resolve) => {
    // It has left the group and has no connection any more, whoever has ended it.
    consumer.on('consumer.crash', ({ payload }) => {
      resolve()
      if (!running) return
      finish()
      options.onEnd(ended(payload.error))
    })
  })
  consumer.on('consumer.fetch_start', () => {
    if (!running) throw new kafkajs.KafkaJSNonRetriableError('consuming stops')
  })
  consumer.on('consumer.group_join', ({ payload }) => options.onAssigned?.(payload.memberAssignment))
  try {
    await consumer.connect()
    await consumer.subscribe({ topics: [...options.topics], fromBeginning: true })
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      partitionsConsumedConcurrently: options.concurrency,
      eachBatch: (payload) => work(payload, consumer, options, { heartbeatMs, timers, stopping: stopping.signal }),
    })
  } catch (error) {
    finish()
    await consumer.disconnect().catch(() => {}) // the reason is the error
    throw error
  }
  return {
    async stop() {
      finish()
      await left
    },
  }
}

interface Context {
  readonly heartbeatMs: number
  readonly timers: Set<NodeJS.Timeout>
  readonly stopping: AbortSignal
}

async function work(
  payload: EachBatchPayload,
  consumer: Consumer,
  options: ConsumeOptions,
  { heartbeatMs, timers, stopping }: Context,
): Promise<void> {
  if (!payload.isRunning() || payload.isStale() || stopping.aborted) return
  const { topic, partition } = payload.batch
  const lost = new AbortController()
  let reason: { readonly error: unknown } | undefined
  const lose = (error: unknown): void => {
    reason ??= { error }
    lost.abort(error)
  }
  const onStop = (): void => lost.abort(stopping.reason)
  stopping.addEventListener('abort', onStop)
  const beat = setInterval(() => void payload.heartbeat().catch(lose), heartbeatMs)
  const lease: Lease = {
    lost: lost.signal,
    async commit(next) {
      lost.signal.throwIfAborted()
      try {
        payload.resolveOffset(String(next - 1n))
        await payload.commitOffsetsIfNecessary({
          topics: [{ topic, partitions: [{ partition, offset: String(next) }] }],
        })
      } catch (error) {
        lose(error)
        throw error
      }
    },
    pass: (next) => payload.resolveOffset(String(next - 1n)),
    pause(ms) {
      const resume = payload.pause()
      const timer = setTimeout(() => {
        timers.delete(timer)
        resume()
      }, ms)
      timers.add(timer)
    },
    seek: (offset) => consumer.seek({ topic, partition, offset: String(offset) }),
  }
  try {
    await options.onBatch(received(payload), lease)
  } catch (error) {
    if (reason === undefined && !stopping.aborted) throw error
  } finally {
    clearInterval(beat)
    stopping.removeEventListener('abort', onStop)
  }
  if (reason !== undefined) throw reason.error
}

function received({ batch }: EachBatchPayload): ReceivedBatch {
  return {
    topic: batch.topic,
    partition: batch.partition,
    end: BigInt(batch.highWatermark),
    messages: batch.messages.map(({ offset, timestamp, key, value, headers }) => ({
      offset: BigInt(offset),
      timestamp: Number(timestamp),
      key,
      value,
      headers: headersOf(headers ?? {}),
    })),
  }
}

/** A name that comes twice has the last of its values. */
function headersOf(
  headers: Readonly<Record<string, Buffer | string | (Buffer | string)[] | undefined>>,
): Record<string, Uint8Array> {
  const out: Record<string, Uint8Array> = Object.create(null)
  for (const [name, given] of Object.entries(headers)) {
    const last = Array.isArray(given) ? given.at(-1) : given
    if (last !== undefined) out[name] = typeof last === 'string' ? Buffer.from(last) : last
  }
  return out
}
