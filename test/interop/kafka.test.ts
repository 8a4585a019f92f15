/**
 * With a real Kafka of three nodes, one for all of it: what the port promises, events both ways, batches both ways. The cases are in
 * kafka/, and each has topics and groups of its own.
 */
import { after, before, suite } from 'node:test'
import { KafkaBroker, noKafka } from '../support/kafka-broker.ts'
import { batchCases } from './kafka/batch-cases.ts'
import { eventCases } from './kafka/event-cases.ts'
import { eventProcessCases } from './kafka/event-process-cases.ts'
import { portCases } from './kafka/port-cases.ts'
import { processCases } from './kafka/process-cases.ts'

const missing = noKafka()
if (missing !== undefined && process.env['CI'] !== undefined)
  throw new Error(`${missing}, and in CI nothing is skipped`)

suite('Kafka', { skip: missing ?? false }, () => {
  let broker: KafkaBroker
  before(async () => {
    broker = await KafkaBroker.start({
      nodes: 3,
      login: { user: '$ConnectionString', password: 'Endpoint=sb://x/;Key=a=' },
    })
  })
  after(() => broker?.stop())
  portCases(() => broker)
  eventCases(() => broker)
  batchCases(() => broker)
  processCases(() => broker)
  eventProcessCases(() => broker)
})
