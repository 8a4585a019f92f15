import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { JournalOptions } from '../../../collector/journal/journal.ts'
import { Journal } from '../../../collector/journal/journal.ts'
import type { JournalRecord } from '../../../collector/journal/record.ts'
import {
  beginsRecord,
  encodeRecordHead,
  encodeSegmentHead,
  RECORD_HEAD_BYTES,
  recordLength,
} from '../../../collector/journal/record.ts'
import { crc32c } from '../../../proto/wire/crc32c.ts'
import type { AppendFault } from '../../support/memory-files.ts'
import { MemoryFiles } from '../../support/memory-files.ts'
import { Random, testSeed } from '../../support/random.ts'

const options: JournalOptions = {
  directory: '/j',
  quarantine: '/j/quarantine',
  writer: 'test',
  segmentBytes: 400,
  bytesMax: 1e9,
}

/** Magic, length, checksum, position and count of a record. */
const LAST_HEAD_BYTES = 12

const open = (files: MemoryFiles, cursor?: number, overrides: Partial<JournalOptions> = {}) => {
  const seen: JournalRecord[] = []
  const known = cursor === undefined ? undefined : { position: cursor, lastAt: 0 }
  const journal = Journal.open(files, { ...options, ...overrides }, known, (record) =>
    seen.push({
      ...record,
      body: record.body.slice(),
      verdict: record.verdict.slice(),
      dropped: record.dropped.slice(),
      overflow: record.overflow.slice(),
    }),
  )
  return { journal, seen }
}

const record = (position: number, count: number, bodyLength = 20): JournalRecord => ({
  position,
  count,
  kinds: count > 1 ? [count - 1, 0, 1, 0] : [count, 0, 0, 0],
  at: 1_761_991_200_000_000 + position,
  door: 'remote_write',
  tenant: 'default',
  verdict: new Uint8Array(0),
  dropped: new Uint8Array(position % 3),
  overflow: new Uint8Array(position % 2),
  body: new Uint8Array(bodyLength).fill(position % 251),
})

/** Appends records of these counts, one write each. */
function fill(journal: Journal, counts: readonly number[], bodyLength = 20): JournalRecord[] {
  return counts.map((count) => {
    const r = record(journal.end, count, bodyLength)
    journal.append([r])
    return r
  })
}

const readAll = (journal: Journal, from: number, step = 1e9): JournalRecord[] => {
  const out: JournalRecord[] = []
  for (let at = from; ; ) {
    const some = journal.read(at, step)
    if (some.length === 0) return out
    out.push(...some)
    at = some.at(-1)!.position + some.at(-1)!.count
  }
}

const segmentsOf = (files: MemoryFiles) => [...files.content.keys()].filter((name) => name.endsWith('.seg')).sort()

test('Journal: what is appended is read back, also after a restart, in whatever steps', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 50 }), fc.nat(300)), { maxLength: 20 }),
      fc.integer({ min: 1, max: 500 }),
      (writes, step) => {
        const files = new MemoryFiles()
        const { journal } = open(files)
        const written = writes.map(([count, length]) => {
          const r = record(journal.end, count, length)
          journal.append([r])
          return r
        })
        assert.deepEqual(readAll(journal, 0, step), written)
        files.kill()
        const again = open(files, 0)
        assert.deepEqual(again.seen, written)
        assert.equal(again.journal.end, journal.end)
        assert.equal(again.journal.lastAt, written.at(-1)?.at ?? 0)
        assert.deepEqual(readAll(again.journal, 0, step), written)
        assert.deepEqual(again.journal.recovery, { lost: 0, quarantined: 0, torn: 0 })
      },
    ),
  )
})

test('Journal: a failed append leaves nothing behind, and the next one works', () => {
  for (const fault of ['full', 'short', 'short and stuck', 'io'] satisfies AppendFault[]) {
    for (let failAt = 0; failAt < 12; failAt++) {
      const files = new MemoryFiles()
      const { journal } = open(files)
      const kept: JournalRecord[] = []
      for (let i = 0; i < 12; i++) {
        if (i === failAt) files.nextAppend = fault
        const r = record(journal.end, 3)
        const code = fault === 'io' ? 'FM_JOURNAL_IO' : 'FM_JOURNAL_FULL'
        if (i === failAt) assert.throws(() => journal.append([r]), { code })
        else {
          journal.append([r])
          kept.push(r)
        }
      }
      assert.deepEqual(readAll(journal, 0), kept, `${fault} at ${failAt}`)
      files.kill()
      assert.deepEqual(open(files, 0).seen, kept, `${fault} at ${failAt}, after a restart`)
    }
  }
})

test('Journal.append() refuses what is over the bound on all segments', () => {
  const files = new MemoryFiles()
  const { journal } = open(files, undefined, { bytesMax: 500 })
  fill(journal, [1, 1, 1])
  assert.throws(() => fill(journal, Array(20).fill(1)), { code: 'FM_JOURNAL_FULL' })
  journal.release(journal.end)
  assert.ok(journal.bytes <= 500)
})

test('Journal.sync(): a file whose sync failed is never synced or written again', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  const before = fill(journal, [2])
  files.nextSync = 'io'
  assert.throws(() => journal.sync(), { code: 'FM_JOURNAL_IO' })
  journal.sync()
  const after = fill(journal, [2])
  assert.equal(segmentsOf(files).length, 2)
  assert.deepEqual(readAll(journal, 0), [...before, ...after])
})

test('Journal.release() removes whole segments before the position and never the active one', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  const written = fill(journal, Array(30).fill(2))
  const before = segmentsOf(files).length
  journal.release(31)
  assert.ok(segmentsOf(files).length < before)
  assert.deepEqual(
    readAll(journal, 40),
    written.filter((r) => r.position >= 40),
  )
  journal.release(journal.end)
  assert.equal(segmentsOf(files).length, 1)
  files.kill()
  const again = open(files, journal.end)
  assert.equal(again.journal.end, 60)
  assert.equal(again.journal.lastAt, written.at(-1)?.at)
})

test('Journal: arrival and position survive when every sample is stored and every old segment is gone', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  const written = fill(journal, [5, 5, 5])
  files.kill()
  // A new process begins a new segment; the old ones are released.
  const second = open(files, 15).journal
  fill(second, [1])
  second.release(16)
  assert.equal(segmentsOf(files).length, 1)
  const third = open(files, 16).journal
  assert.equal(third.end, 16)
  assert.ok(third.lastAt >= written.at(-1)!.at)
})

test('Journal: a torn last write is cut off and counts as torn, at every length', () => {
  const whole = new MemoryFiles()
  const written = fill(open(whole).journal, [4, 4, 4])
  const [name] = segmentsOf(whole) as [string]
  const bytes = whole.content.get(name)!
  const lastStart = bytes.length - (bytes.length - 0) + findLastRecord(bytes)
  for (let cut = lastStart + 1; cut < bytes.length; cut++) {
    const files = new MemoryFiles()
    files.content.set(name, bytes.slice(0, cut))
    const { journal, seen } = open(files, 0)
    assert.deepEqual(seen, written.slice(0, 2))
    assert.deepEqual(journal.recovery, { lost: 0, quarantined: 0, torn: cut - lastStart })
    const more = fill(journal, [7])
    assert.deepEqual(readAll(journal, 0), [...written.slice(0, 2), ...more])
  }
})

test('Journal: one flipped bit loses at most the record that it is in, and counts it exactly', () => {
  const whole = new MemoryFiles()
  const written = fill(open(whole).journal, [3, 5, 7, 2, 9])
  const names = segmentsOf(whole)
  fc.assert(
    fc.property(fc.nat(), fc.nat(), (which, at) => {
      const files = new MemoryFiles()
      for (const [name, bytes] of whole.content) files.content.set(name, bytes.slice())
      const bytes = files.content.get(names[which % names.length]!)!
      const bit = at % (bytes.length * 8)
      bytes[bit >> 3]! ^= 1 << (bit & 7)
      const { journal, seen } = open(files, 0)
      const missing = written.filter((r) => !seen.some((s) => s.position === r.position))
      assert.ok(missing.length <= 1)
      // Position and count of the very last record are the one place where nothing else tells how many samples it held.
      const inLast = (bit >> 3) - findLastRecord(whole.content.get(names.at(-1)!)!)
      const inItsRange = missing[0] === written.at(-1) && inLast >= RECORD_HEAD_BYTES && inLast < LAST_HEAD_BYTES
      if (!inItsRange)
        assert.equal(
          journal.recovery.lost,
          missing.reduce((n, r) => n + r.count, 0),
        )
      assert.deepEqual(readAll(journal, 0), seen)
      const more = fill(journal, [1])
      assert.deepEqual(readAll(journal, 0), [...seen, ...more])
    }),
    { numRuns: 1000 },
  )
})

test('Journal: a missing segment is counted exactly, a repeated one changes nothing', () => {
  const whole = new MemoryFiles()
  const written = fill(
    open(whole).journal,
    Array.from({ length: 20 }, (_, i) => i + 1),
  )
  const names = segmentsOf(whole)
  assert.ok(names.length >= 3)
  const gone = new MemoryFiles()
  for (const [name, bytes] of whole.content) if (name !== names[1]) gone.content.set(name, bytes)
  const { journal, seen } = open(gone, 0)
  const missing = written.filter((r) => !seen.some((s) => s.position === r.position))
  assert.equal(
    journal.recovery.lost,
    missing.reduce((n, r) => n + r.count, 0),
  )
  assert.ok(missing.length > 0)

  const twice = new MemoryFiles()
  for (const [name, bytes] of whole.content) twice.content.set(name, bytes)
  twice.content.set('/j/000000ff.seg', whole.content.get(names[0]!)!)
  const repeated = open(twice, 0)
  assert.deepEqual(repeated.seen, written)
  assert.equal(repeated.journal.recovery.lost, 0)
  assert.deepEqual(readAll(repeated.journal, 0), written)
})

test('Journal: segments before the first kept one are not lost when no cursor says that they were needed', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  fill(journal, Array(20).fill(2))
  journal.release(20)
  files.kill()
  assert.equal(open(files, undefined).journal.recovery.lost, 0)
  assert.equal(open(files, 20).journal.recovery.lost, 0)
})

test('Journal: a cursor beyond the data goes on from the cursor', () => {
  const files = new MemoryFiles()
  fill(open(files).journal, [5])
  files.kill()
  const { journal } = open(files, 12)
  assert.equal(journal.end, 12)
  fill(journal, [1])
  assert.equal(journal.end, 13)
})

test('Journal: files stay closed that nobody reads or writes', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  fill(journal, Array(40).fill(1))
  readAll(journal, 0)
  assert.ok(files.openFiles <= 2, `${files.openFiles} files are open`)
  journal.close()
  assert.equal(files.openFiles, 0)
})

test('Journal refuses segments of another version and says what to do', () => {
  const files = new MemoryFiles()
  fill(open(files).journal, [5])
  const [name] = segmentsOf(files) as [string]
  const head = encodeSegmentHead({ sequence: 1, first: 0, horizon: 0, writer: 'test' })
  head[3] = 9
  new DataView(head.buffer).setUint32(8, crc32c(head, 12, head.length, crc32c(Uint8Array.of(9))), true)
  files.content.set(name, head)
  assert.throws(() => open(files), { code: 'FM_DIRECTORY', message: /segment version 9 is not known.*another version/ })
})

test('Journal reads records of version 2, whose checksum is another, and goes on behind a damaged one', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  const written = [3, 5, 7, 9].map((count) => {
    const one = record(journal.end, count)
    journal.append([one])
    return one.position
  })
  journal.close()
  for (const [name, bytes] of files.content) if (segmentsOf(files).includes(name)) makeVersion2(bytes)
  const again = open(files, 0)
  assert.deepEqual(
    again.seen.map(({ position }) => position),
    written,
  )
  again.journal.close()
  const [first] = segmentsOf(files)
  const bytes = files.content.get(first!)!
  bytes[[...bytes.keys()].filter((at) => beginsRecord(bytes, at))[1]! + 1]! ^= 4
  const damaged = open(files, 0)
  assert.deepEqual(
    damaged.seen.map(({ position }) => position),
    written.filter((_, i) => i !== 1),
  )
  assert.equal(damaged.journal.recovery.lost, 5)
})

/** As a version before CRC-32 wrote it. */
function makeVersion2(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const head = 12 + view.getUint32(4, true)
  bytes[3] = 2
  view.setUint32(8, crc32c(bytes, 12, head, crc32c(Uint8Array.of(2))), true)
  for (let at = head; at < bytes.length; ) {
    const end = at + RECORD_HEAD_BYTES + recordLength(bytes, at)!
    bytes[at + 1] = 0xe7
    view.setUint32(at + 6, crc32c(bytes, at + RECORD_HEAD_BYTES, end), true)
    at = end
  }
}

function findLastRecord(bytes: Uint8Array): number {
  for (let at = bytes.length - 1; at >= 0; at--) if (beginsRecord(bytes, at)) return at
  throw new Error('no record')
}

test('Journal: a loss at the end of a segment is counted when only a segment head follows it', () => {
  const files = new MemoryFiles()
  const { journal } = open(files)
  fill(journal, [3, 5])
  const [name] = segmentsOf(files) as [string]
  const head = encodeSegmentHead({ sequence: 2, first: 8, horizon: journal.lastAt, writer: 'test' })
  files.kill()
  files.content.set('/j/00000002.seg', head) // killed between the head and its first record
  const bytes = files.content.get(name)!
  bytes[bytes.length - 1]! ^= 1
  const again = open(files, 0)
  assert.deepEqual(again.journal.recovery.lost, 5)
  assert.equal(again.journal.end, 8, 'positions of what is lost are not given out again')
})

test('Journal: the head of the very last record may be damaged anywhere before its count: the loss is exact', () => {
  const whole = new MemoryFiles()
  const written = fill(open(whole).journal, [3, 5, 7])
  const [name] = segmentsOf(whole) as [string]
  const start = findLastRecord(whole.content.get(name)!)
  for (let bit = start * 8; bit < (start + RECORD_HEAD_BYTES) * 8; bit++) {
    const files = new MemoryFiles()
    const bytes = whole.content.get(name)!.slice()
    bytes[bit >> 3]! ^= 1 << (bit & 7)
    files.content.set(name, bytes)
    const { journal, seen } = open(files, 0)
    assert.deepEqual(seen, written.slice(0, 2))
    assert.deepEqual(journal.recovery, { lost: 7, quarantined: bytes.length - start, torn: 0 }, `bit ${bit}`)
    assert.equal(files.content.get(name)!.length, bytes.length, 'what was acknowledged is not cut away')
  }
})

test('Journal: a record inside the body of a damaged record is not believed', () => {
  const inner = { ...record(4_000_000, 9), tenant: 'somebody-else' }
  const forged = Buffer.concat([encodeRecordHead(inner), inner.body])
  const whole = new MemoryFiles()
  const { journal } = open(whole, undefined, { segmentBytes: 10_000 })
  const written = [2, 3, 4].map((count, i) => {
    const r = { ...record(journal.end, count), ...(i === 1 ? { body: Uint8Array.from(forged) } : {}) }
    journal.append([r])
    return r
  })
  const [name] = segmentsOf(whole) as [string]
  const sound = whole.content.get(name)!
  const at = Buffer.from(sound).indexOf(forged)
  const head = at - encodeRecordHead(written[1]!).length
  for (let byte = head; byte < at; byte++) {
    const files = new MemoryFiles()
    const bytes = sound.slice()
    bytes[byte]! ^= 0x10
    files.content.set(name, bytes)
    const again = open(files, 0)
    assert.deepEqual(again.seen, [written[0], written[2]], `byte ${byte - head}`)
    assert.equal(again.journal.recovery.lost, 3)
    assert.deepEqual(readAll(again.journal, 0), again.seen)
  }
})

test('Journal: one flipped bit, where bodies are as long as a flipped length says and hold records of their own', () => {
  const seed = testSeed()
  const random = new Random(seed)
  for (let round = 0; round < 12; round++) {
    const whole = new MemoryFiles()
    const size = 2 ** random.between(5, 9)
    const { journal } = open(whole, undefined, { segmentBytes: 2000 })
    const written = Array.from({ length: 14 }, () => {
      const count = random.between(1, 40)
      const head = encodeRecordHead(record(journal.end, count, size)).length
      const r = { ...record(journal.end, count), body: hostileBody(random, Math.max(1, size - head)) }
      journal.append([r])
      return r
    })
    const names = segmentsOf(whole)
    const lastAt = whole.content.get(names.at(-1)!)!.length - encodeRecordHead(written.at(-1)!).length
    for (let flip = 0; flip < 300; flip++) {
      const files = new MemoryFiles()
      for (const [name, bytes] of whole.content) files.content.set(name, bytes.slice())
      const name = random.pick(names)
      const bytes = files.content.get(name)!
      // Half of them in the first bytes of a record, where most depends on them.
      const starts = [...bytes.keys()].filter((at) => beginsRecord(bytes, at))
      const at = random.chance(0.5) ? random.pick(starts) + random.between(0, 12) : random.between(0, bytes.length - 1)
      if (at >= bytes.length) continue
      bytes[at]! ^= 1 << random.between(0, 7)
      const again = open(files, 0, { segmentBytes: 2000 })
      const missing = written.filter((r) => !again.seen.some((s) => s.position === r.position))
      const where = `seed ${seed}, round ${round}: byte ${at} of ${name}`
      assert.ok(missing.length <= 1, where)
      assert.deepEqual(
        again.seen.map(({ position }) => position),
        written.filter((r) => !missing.includes(r)).map(({ position }) => position),
        where,
      )
      assert.deepEqual(readAll(again.journal, 0), again.seen, where)
      const inLast = at - (lastAt - written.at(-1)!.body.length)
      const inItsRange = name === names.at(-1) && inLast >= RECORD_HEAD_BYTES && inLast < RECORD_HEAD_BYTES + 3
      if (!inItsRange) assert.equal(again.journal.recovery.lost, missing[0]?.count ?? 0, where)
    }
  }
})

/** Random bytes, and often a whole record in them. */
function hostileBody(random: Random, length: number): Uint8Array {
  const body = Uint8Array.from({ length }, () => random.between(0, 255))
  const position = random.chance(0.5) ? random.between(0, 300) : 5_000_000
  const inner = record(position, random.between(1, 20), 3)
  const forged = Buffer.concat([encodeRecordHead(inner), inner.body])
  if (forged.length < length && random.chance(0.5)) body.set(forged, random.between(0, length - forged.length))
  return body
}

test('Journal: an impossible count of a damaged last record is not believed', () => {
  const files = new MemoryFiles()
  fill(open(files).journal, [3, 5])
  const [name] = segmentsOf(files) as [string]
  const bytes = files.content.get(name)!
  const start = findLastRecord(bytes)
  bytes.fill(0xff, start + 11, start + 17)
  bytes[start + 17] = 1
  assert.equal(open(files, 0).journal.end, 3)
})

test('Journal: damaged bytes of a segment and of its copy are both kept aside', () => {
  const files = new MemoryFiles()
  fill(open(files).journal, [3, 5])
  const [name] = segmentsOf(files) as [string]
  const copy = files.content.get(name)!.slice()
  copy[copy.length - 30]! ^= 1
  files.content.get(name)![copy.length - 31]! ^= 1
  files.content.set('/j/000000ff.seg', copy)
  open(files, 0)
  assert.equal([...files.content.keys()].filter((path) => path.startsWith('/j/quarantine/')).length, 2)
})

test('Journal: a segment that cannot be read is not taken for one of another version', () => {
  const files = new MemoryFiles()
  fill(open(files).journal, [3])
  files.read = () => {
    throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
  }
  assert.throws(
    () => open(files),
    (error: Error) => {
      assert.match(error.message, /00000001\.seg".*EIO/)
      assert.doesNotMatch(error.message, /version/)
      return true
    },
  )
})
