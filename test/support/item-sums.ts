/** The sums that hold on /metrics at any moment: every item that came is counted as something. */
import assert from 'node:assert/strict'
import { ITEM_KINDS } from '../../proto/wire/batch-extras.ts'

const DOORS = ['remote_write', 'remote_write_2', 'metrics_batch', 'host']

/** Of a collector with two shards. */
export function checkCollectorSums(metrics: ReadonlyMap<string, number>): void {
  for (const shard of ['shard-0', 'shard-1']) {
    for (const [door, kind] of DOORS.flatMap((d) => ITEM_KINDS.map((k) => [d, k] as const))) {
      const source = `shard="${shard}",door="${door}",kind="${kind}"`
      const of = (family: string): number =>
        metrics.get(`fleetmeter_collector_items_${family}{${source}}`) ?? Number.NaN
      let refused = 0
      for (const [name, value] of metrics)
        if (name.startsWith(`fleetmeter_collector_items_refused_total{${source}`)) refused += value
      const left = of('received_total') + of('recovered_total')
      const aside = of('duplicate_total') + of('replaced_total') + of('consumed_total')
      const right = refused + aside + of('stored_total') + of('waiting')
      assert.equal(left, right, `${shard} ${door} ${kind}`)
      assert.ok(of('waiting') >= 0)
    }
  }
}

export function checkAggregatorSums(metrics: ReadonlyMap<string, number>): void {
  for (const kind of ITEM_KINDS) {
    const of = (family: string): number =>
      metrics.get(`fleetmeter_aggregator_items_${family}{kind="${kind}"}`) ?? Number.NaN
    const right = of('stored_total') + of('refused_total') + of('expired_total') + of('waiting')
    assert.equal(of('received_total'), right, kind)
    assert.ok(of('waiting') >= 0)
  }
}
