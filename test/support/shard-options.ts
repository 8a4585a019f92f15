/** Options of a shard that is driven by a test: everything small, so that bounds are met. */
import type { ShardOptions } from '../../collector/shard/shard-core.ts'

type Given = Omit<Partial<ShardOptions>, 'limits'> & { readonly limits?: Partial<ShardOptions['limits']> }

export function shardOptions({ limits, ...given }: Given = {}): ShardOptions {
  return {
    directory: '/shard',
    origin: { collector: 'c', session: 's', shard: 0, shards: 1 },
    writer: 7,
    limits: {
      seriesMax: 1000,
      seriesPerTenantMax: 1000,
      seriesPerSenderMax: 1000,
      overflowSeriesMax: 1000,
      labelCountMax: 10,
      labelNameBytesMax: 100,
      labelValueBytesMax: 100,
      decodedBytesMax: 1 << 20,
      metadataBytesMax: 10_000,
      samplesPerBodyMax: 1000,
      ...limits,
    },
    futureMaxMs: 60_000,
    lateMaxMs: 3_600_000,
    journalBytesMax: 1 << 20,
    segmentBytes: 1500,
    syncEveryWrite: false,
    batchBytes: 300,
    batchSamples: 100,
    seed: 5,
    rules: { rules: [], keepMs: 60_000, pointsMax: 1000, groupsMax: 10 },
    ...given,
  }
}
