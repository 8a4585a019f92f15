/** What the events lane is opened with, out of the settings. */
import { createHash, randomInt } from 'node:crypto'
import { join } from 'node:path'
import { readUuid } from '../proto/events/uuid.ts'
import type { CollectorConfig } from './config.ts'
import type { EventsOptions } from './events/events-core.ts'
import { EVENTS_LANE } from './events/events-thread.ts'

const WRITERS = 1000 // the last three digits of an arrival

/** Numbers from here on are no shard's. */
const EVENTS_WRITER = 500

/** @param place what stays the same as long as a collector runs; `id`: of the collector */
export function eventsOptions(
  own: CollectorConfig,
  place: { readonly journals: string; readonly id: string; readonly session: string; readonly hostName: string },
): EventsOptions {
  const { journals, id, session, hostName } = place
  return {
    directory: join(journals, EVENTS_LANE),
    writer: `${id}/${EVENTS_LANE}`,
    writerDigits: (createHash('sha256').update(id).digest().readUInt32LE() + EVENTS_WRITER) % WRITERS,
    origin: { collector: id, session, lane: EVENTS_LANE },
    segmentBytes: own.journalSegmentBytes,
    journalBytesMax: own.journalBytesMax,
    batchBytes: own.batchBytes,
    batchItems: own.batchSamples,
    itemsMax: own.eventsPerBodyMax,
    itemBytesMax: own.eventBytesMax,
    decodedBytesMax: own.decodedBytesMax,
    futureMaxMs: own.futureMaxMs,
    recentMax: own.eventsRecentMax,
    seed: randomInt(2 ** 32),
    personal: own.eventsPersonal,
    node: {
      node_id: readUuid(own.id) ?? '',
      vm_type: own.vmType,
      host_name: hostName,
      storage_size: own.storageSize === '' ? '' : Number(own.storageSize),
      storage_type: own.storageType,
    },
  }
}
