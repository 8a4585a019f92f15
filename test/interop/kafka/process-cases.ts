/** Samples by Kafka with real programs: a collector, aggregators that are killed, the embedded engine. Events go the same way beside them. */
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import type { KafkaBroker } from '../../support/kafka-broker.ts'
import type { Running } from '../../support/programs.ts'
import { authorized, freePort, kill, ready, start, temporaryDirectory } from '../../support/programs.ts'
import { remoteWriteBody } from '../../support/write-request.ts'
import { clientOf, madeTopic, unique, until } from './clients.ts'

const SERIES = 50
const ROUNDS = 40

export function processCases(broker: () => KafkaBroker): void {
  test('samples go by Kafka beside events: an aggregator killed with -9 in the midst, each is there once', async (t) => {
    const ownTopic = unique('events')
    await madeTopic(clientOf(t, broker()), ownTopic) // so that both are consumed from the beginning
    const directory = temporaryDirectory()
    const port = await freePort()
    const shared = {
      FLEETMETER_DATA_DIR: directory,
      FLEETMETER_AGGREGATOR_URL: 'http://127.0.0.1:1', // nobody
      KAFKA_BROKERS: broker().bootstrap.join(','),
      KAFKA_GROUP: unique('group'),
      KAFKA_TOPICS: unique('nobody'),
      FLEETMETER_KAFKA_OWN_TOPIC: ownTopic,
      FLEETMETER_KAFKA_SAMPLES: 'true',
      FLEETMETER_KAFKA_SAMPLES_TOPIC: unique('samples'),
    }
    const aggregator = (): Promise<Running> =>
      start('aggregator', {
        FLEETMETER_AGGREGATOR_LISTEN: `127.0.0.1:${port}`,
        FLEETMETER_AGGREGATOR_INSERT_FEW_AFTER_MS: '200',
        FLEETMETER_AGGREGATOR_INSERT_AFTER_MS: '200',
        FLEETMETER_AGGREGATOR_RATE_LIMIT_QPS: '1000', // it is asked until all is there
        FLEETMETER_AGGREGATOR_RATE_LIMIT_BURST: '1000',
        ...shared,
      })
    const collector = await start('collector', {
      FLEETMETER_COLLECTOR_LISTEN: '127.0.0.1:0',
      FLEETMETER_COLLECTOR_BATCH_INTERVAL_MS: '50',
      FLEETMETER_COLLECTOR_HOST: 'false',
      ...shared,
    })
    t.after(() => kill(collector))
    let running = await aggregator()
    t.after(() => kill(running))
    const from = Math.floor(Date.now() / 1000) * 1000 - 60_000
    const sent: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      if (round === ROUNDS / 2) {
        await kill(running)
        running = await aggregator()
      }
      const points = Array.from({ length: SERIES }, (_, s) => ({
        name: 'by_kafka',
        labels: { s: String(s) },
        time: from + round * 1000,
        value: round,
      }))
      const answer = await fetch(`${collector.url}/api/v1/write`, {
        method: 'POST',
        body: remoteWriteBody(points),
        headers: { 'Content-Type': 'application/x-protobuf', 'Content-Encoding': 'snappy' },
      })
      assert.equal(answer.status, 204)
      const event = { event_id: randomUUID(), event_type: 'pbac.agent.start', timestamp: new Date().toISOString() }
      const told = await fetch(`${collector.url}/v1/events`, {
        method: 'POST',
        body: JSON.stringify({ ...event, created: event.timestamp }),
        headers: { ...authorized, 'Content-Type': 'application/json' },
      })
      assert.equal(told.status, 200, await told.text())
      sent.push(event.event_id)
    }
    await ready(running.url)
    const asked = async <T>(path: string): Promise<T> => {
      const answer = await fetch(`${running.url}${path}`, { headers: authorized })
      if (answer.status !== 200) throw new Error(`${path} is answered ${answer.status}: ${await answer.text()}`)
      return ((await answer.json()) as { data: T }).data
    }
    const query = new URLSearchParams({
      name: 'by_kafka',
      from: new Date(from).toISOString(),
      to: new Date(from + ROUNDS * 1000).toISOString(),
      step: '1d',
      agg: 'sum',
      group_by: 'nothing',
    })
    const sum = (SERIES * ROUNDS * (ROUNDS - 1)) / 2
    await until('all samples are there, each once', async () => {
      const [series] = await asked<{ values: { value: number }[] }[]>(`/api/public/metrics/query?${query}`)
      return series !== undefined && series.values.reduce((n, { value }) => n + value, 0) === sum
    })
    await until('all events are there, each once', async () => {
      const found = await asked<{ event: { event_id: string } }[]>('/v1/events?type=pbac.agent.start&limit=1000')
      assert.ok(found.length <= sent.length)
      return sent.every((id) => found.some(({ event }) => event.event_id === id))
    })
  })
}
