/** The file log against a model: what was answered is there, in order, once, over crashes, full disks, failed syncs, torn ends and damage. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FileLog } from '../../../aggregator/owner/file-log.ts'
import type { LogFile, LogFiles } from '../../../aggregator/owner/log-files.ts'
import type { LoggedRecord, OwnerRecord } from '../../../aggregator/owner/owner-log.ts'
import { silentLogger } from '../../../proto/runtime/log.ts'

type Fault = 'full' | 'short' | 'short and stuck' | 'sync' | 'sync and stuck'

/** Files in memory, which stay over a crash; the next append or sync fails when told to. */
class FlakyFiles implements LogFiles {
  readonly content = new Map<string, Uint8Array>()
  fault: Fault | undefined

  async makeDirectory(): Promise<void> {}
  async list(path: string): Promise<string[]> {
    return [...this.content.keys()]
      .filter((name) => name.startsWith(`${path}/`))
      .map((name) => name.slice(path.length + 1))
  }
  async create(path: string): Promise<LogFile> {
    this.content.set(path, new Uint8Array(0))
    let stuck = false
    return {
      append: async (bytes) => {
        const { fault } = this
        if (fault === 'full' || fault === 'short' || fault === 'short and stuck') {
          this.fault = undefined
          const part = fault === 'full' ? 0 : bytes.length >> 1
          this.#append(path, bytes.subarray(0, part))
          stuck = fault === 'short and stuck'
          throw Object.assign(new Error('no space'), { code: 'ENOSPC' })
        }
        this.#append(path, bytes)
        return bytes.length
      },
      truncate: async (bytes) => {
        if (stuck) throw new Error('EIO')
        this.content.set(path, this.content.get(path)!.slice(0, bytes))
      },
      sync: async () => {
        const { fault } = this
        if (fault !== 'sync' && fault !== 'sync and stuck') return
        this.fault = undefined
        stuck = fault === 'sync and stuck'
        throw new Error('EIO')
      },
      close: async () => {},
    }
  }
  async read(path: string): Promise<Uint8Array> {
    return this.content.get(path)!
  }
  async replace(directory: string, name: string, content: Uint8Array): Promise<void> {
    this.content.set(`${directory}/${name}`, content)
  }
  async remove(path: string): Promise<void> {
    this.content.delete(path)
  }
  async rename(): Promise<void> {}
  async syncDirectory(): Promise<void> {}

  /** The segments in the order of writing. */
  get segments(): string[] {
    return [...this.content.keys()].filter((path) => path.startsWith('log/') && path.endsWith('.log')).sort()
  }

  #append(path: string, bytes: Uint8Array): void {
    this.content.set(path, Uint8Array.from([...this.content.get(path)!, ...bytes]))
  }
}

async function openLog(files: LogFiles, floor = 0, needed = floor): Promise<FileLog> {
  const log = new FileLog(files, {
    directory: 'log',
    quarantine: 'quarantine',
    segmentBytes: 400,
    probeAfterMs: 1e6,
    log: silentLogger,
  })
  await log.open(floor, needed)
  return log
}

async function allOf(log: FileLog, after = 0): Promise<LoggedRecord[]> {
  const records: LoggedRecord[] = []
  for await (const piece of log.read(after)) records.push(...piece)
  return records
}

let made = 0
const record = (): OwnerRecord => ({
  kind: 'event',
  tenant: 't',
  key: `k${made}`,
  at: made,
  body: JSON.stringify({ i: made++, text: 'ü' }),
})

const NOTHING_WRITTEN = [
  { kind: 'fault' as const, fault: 'sync' as const },
  { kind: 'append' as const, sizes: [1] },
  { kind: 'release' as const, share: 0 },
  { kind: 'crash' as const, torn: new Uint8Array(0) },
]

test('what was answered is there in order and once; what was refused is not; no position is given twice', async () => {
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('append' as const),
        sizes: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('fault' as const),
        fault: fc.constantFrom<Fault>('full', 'short', 'short and stuck', 'sync', 'sync and stuck'),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant('crash' as const), torn: fc.uint8Array({ maxLength: 30 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('release' as const),
        share: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
    },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const files = new FlakyFiles()
      let log = await openLog(files)
      let released = 0
      const expected: LoggedRecord[] = []
      for (const one of steps) {
        if (one.kind === 'fault') files.fault = one.fault
        else if (one.kind === 'release') {
          released = Math.max(released, Math.floor(one.share * log.end))
          await log.release(released)
        } else if (one.kind === 'crash') {
          files.fault = undefined
          const last = files.segments.at(-1)
          if (last !== undefined) files.content.set(last, Uint8Array.from([...files.content.get(last)!, ...one.torn]))
          const { generation } = log
          log = await openLog(files, released)
          assert.equal(log.generation, generation + 1)
          assert.deepEqual([log.damage.lost, log.damage.damagedBytes], [0, 0])
        } else {
          const groups = one.sizes.map((size) => Array.from({ length: size }, record))
          const outcomes = await Promise.allSettled(groups.map((group) => log.append(group)))
          for (const [i, outcome] of outcomes.entries())
            if (outcome.status === 'fulfilled')
              expected.push(...groups[i]!.map((r, k) => ({ ...r, n: outcome.value + k })))
        }
      }
      files.fault = undefined
      const reopened = await openLog(files, released)
      assert.deepEqual(
        await allOf(reopened, released),
        expected.filter(({ n }) => n > released),
      )
      for (const [i, { n }] of expected.entries()) assert.ok(i === 0 || n > expected[i - 1]!.n)
    }),
    // Nothing was ever written, and the disk refused: the segment that says the generation is the only one.
    { numRuns: 500, examples: [[NOTHING_WRITTEN]] },
  )
})

test('every flipped byte costs what it is in, and is counted, never silent; every sound record is read', async () => {
  const files = new FlakyFiles()
  const log = await openLog(files)
  const records = Array.from({ length: 12 }, record)
  for (const one of records) await log.append([one])
  const whole = new Map([...files.content].map(([path, bytes]) => [path, bytes.slice()]))
  let flips = 0
  for (const path of files.segments.slice(0, -1))
    for (let i = 0; i < whole.get(path)!.length; i += 3) {
      const bytes = whole.get(path)!.slice()
      bytes[i]! ^= 0x55
      const damaged = new FlakyFiles()
      for (const [name, content] of whole) damaged.content.set(name, content.slice())
      damaged.content.set(path, bytes)
      let reopened: FileLog
      try {
        reopened = await openLog(damaged)
      } catch (error) {
        assert.match(String(error), /version/) // the version of a head is covered by its checksum: only when both agree
        continue
      }
      flips++
      const found = await allOf(reopened)
      assert.equal(found.length + reopened.damage.lost, records.length, `byte ${i} of ${path}`)
      for (const { n, ...rest } of found) assert.deepEqual(rest, records[n - 1])
      assert.ok(reopened.damage.lost > 0 || reopened.damage.damagedBytes > 0)
      assert.equal(await reopened.append([record()]), 13)
    }
  assert.ok(flips > 100)
})

test('damage at the very end: what was there is skipped, so that its positions are not given to others', async () => {
  const files = new FlakyFiles()
  const log = await openLog(files)
  await log.append([record(), record()])
  const [path] = files.segments
  const bytes = files.content.get(path!)!
  bytes[bytes.length - 1]! ^= 1
  const reopened = await openLog(files)
  assert.equal(reopened.end, 1)
  assert.ok(reopened.damage.tornBytes > 0)
  assert.ok([...files.content.keys()].some((name) => name.startsWith('quarantine/')))
  const again = await openLog(files) // nothing was appended in between
  assert.ok((await again.append([record()])) > 2)
})

test('a full disk: refused with the reason, ready again when the disk takes a write', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const files = new FlakyFiles()
  const log = new FileLog(files, {
    directory: 'log',
    quarantine: 'q',
    segmentBytes: 1e6,
    probeAfterMs: 1000,
    log: silentLogger,
  })
  await log.open(0, 0)
  files.fault = 'full'
  await assert.rejects(log.append([record()]), /Cannot append to the owner log in "log": no space; the disk is full/)
  assert.match(log.problem!, /free space/)
  t.mock.timers.tick(1000)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(log.problem, undefined)
  assert.equal(await log.append([record()]), 1)
})
