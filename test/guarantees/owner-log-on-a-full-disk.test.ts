/**
 * The owner log's disk is full: events that tasks and quotas are decided by are answered 503, all others are stored as ever, /readyz says
 * what to do; freed, it goes on by itself, and what was acknowledged before is there, after a kill -9 too.
 */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { SmallDisk } from '../soak/small-disk.ts'
import { auditEvent, eventBatch, receivedEvent, sendEvents } from '../support/events.ts'
import { skip } from '../support/peers.ts'
import { authorized, eventually, kill, ready, scrape, start, temporaryDirectory, total } from '../support/programs.ts'

test('the owner log on a full disk: refused and said, over by itself', { timeout: 120_000 }, async (t) => {
  const data = temporaryDirectory()
  const disk = SmallDisk.mount(join(data, 'aggregator', 'owner'), 1024 * 1024)
  if (typeof disk === 'string') return skip(t, `no disk can be mounted: ${disk}`)
  t.after(() => disk.unmount())
  const env = {
    FLEETMETER_DATA_DIR: data,
    FLEETMETER_AGGREGATOR_LISTEN: '127.0.0.1:0',
    FLEETMETER_AGGREGATOR_EVENTS_INSERT_AFTER_MS: '100',
  }
  let aggregator = await start('aggregator', env)
  t.after(() => kill(aggregator))
  await ready(aggregator.url)
  const before = receivedEvent()
  assert.equal(await sendEvents(aggregator.url, eventBatch([before])), 200)

  disk.fill()
  const refused = Array.from({ length: 20 }, () => receivedEvent({ prompt: 'x'.repeat(1000) }))
  assert.equal(await sendEvents(aggregator.url, eventBatch(refused)), 503)
  let text = ''
  await eventually('/readyz says what to do', async () => {
    const answer = await fetch(`${aggregator.url}/readyz`)
    text = await answer.text()
    return answer.status === 503
  })
  assert.match(
    text,
    /owner: Cannot (append|write) to the owner log in .*ENOSPC.*the disk is full: free space on it\. No restart/,
  )
  assert.equal(await sendEvents(aggregator.url, eventBatch([auditEvent()])), 200, 'what needs no log is stored')
  assert.equal(await sendEvents(aggregator.url, eventBatch(refused)), 503)

  disk.free()
  await ready(aggregator.url)
  assert.equal(await sendEvents(aggregator.url, eventBatch(refused)), 200)
  const figures = await scrape(aggregator.url)
  assert.equal(total(figures, 'fleetmeter_aggregator_owner_log_records_total'), refused.length + 1)
  assert.equal(total(figures, 'fleetmeter_aggregator_events_refused_total'), 2 * refused.length)

  await kill(aggregator)
  aggregator = await start('aggregator', env)
  await ready(aggregator.url)
  assert.equal(await sendEvents(aggregator.url, eventBatch([before, ...refused])), 200)
  assert.equal(total(await scrape(aggregator.url), 'fleetmeter_aggregator_events_duplicate_total'), refused.length + 1)
  for (const { event } of [before, ...refused.slice(0, 3)]) {
    const found = await fetch(`${aggregator.url}/v1/events/${event.event_id}`, { headers: authorized })
    assert.equal(found.status, 200)
    await found.arrayBuffer()
  }
})
