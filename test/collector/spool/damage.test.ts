/** Whatever happens to the files of a journal: verify says it exactly, repair makes it sound, dump shows what is left. */
import assert from 'node:assert/strict'
import { copyFileSync, cpSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { beginsRecord } from '../../../collector/journal/record.ts'
import type { Written } from '../../support/journals.ts'
import {
  dumped,
  edit,
  lastRecord,
  openJournal,
  recordOf,
  segmentsIn,
  snapshot,
  spool,
  verified,
  writeCursor,
  writeJournal,
} from '../../support/journals.ts'
import { temporaryDirectory } from '../../support/programs.ts'
import { Random, testSeed } from '../../support/random.ts'

const COUNTS = [3, 5, 7, 2, 9, 4, 1, 6]
const FLIPS = 100
/** Where in a record its position and count are, one byte each in these journals. */
const RANGE_AT = [10, 11]

const sum = (counts: readonly number[]): number => counts.reduce((a, b) => a + b, 0)

function journal(counts: readonly number[] = COUNTS): Written {
  return writeJournal(join(temporaryDirectory(), 'samples-0'), counts)
}

/** Repair works, says so, and deletes nothing; then verify is content and dump is what it was. */
async function assertRepaired(directory: string): Promise<void> {
  const before = await dumped(directory)
  const files = snapshot(directory)
  assert.equal((await spool('repair', directory)).code, 1)
  const { code, report } = await verified(directory)
  assert.deepEqual([code, report.sound], [0, true])
  assert.deepEqual(await dumped(directory), before)
  assert.equal((await spool('repair', directory)).code, 0, 'there is nothing left to do')
  // All bytes are still there: where they were, or in quarantine.
  const after = Object.entries(snapshot(directory))
  for (const [name, hex] of Object.entries(files)) {
    const now = after.find(([other]) => other === name)![1]
    assert.ok(hex.startsWith(now))
    const cut = hex.slice(now.length)
    assert.ok(cut === '' || after.some(([other, kept]) => other.startsWith('/quarantine/') && kept === cut), name)
  }
}

test('a sound journal is sound, and looking changes nothing', async () => {
  const { directory, records } = journal()
  const before = snapshot(directory)
  const { code, report } = await verified(directory)
  assert.equal(code, 0)
  assert.equal(report.records, COUNTS.length)
  assert.equal(report.items['sample'], sum(COUNTS))
  assert.deepEqual([report.first, report.last, report.lost], [1, sum(COUNTS), 0])
  assert.deepEqual(await dumped(directory), records.flat())
  assert.match((await spool('verify', directory)).out, /samples-0: sound[\s\S]*\nSound\.\n$/)
  assert.equal((await spool('stat', directory)).code, 0)
  assert.equal((await spool('repair', directory, '--dry-run')).code, 0)
  assert.deepEqual(snapshot(directory), before)
})

test('a flipped bit anywhere loses at most its record, is counted exactly, and is repaired', async () => {
  const { directory, records } = journal()
  const segments = segmentsIn(directory)
  assert.ok(segments.length >= 3)
  const bytes = segments.map((path) => readFileSync(path))
  const lastAt = lastRecord(bytes.at(-1)!)
  const seed = testSeed()
  const random = new Random(seed)
  for (let run = 0; run < FLIPS; run++) {
    const which = random.between(0, segments.length - 1)
    const bit = random.between(0, bytes[which]!.length * 8 - 1)
    const at = `seed ${seed}: bit ${bit} of ${basename(segments[which]!)}`
    const copy = join(temporaryDirectory(), 'samples-0')
    cpSync(directory, copy, { recursive: true })
    edit(join(copy, basename(segments[which]!)), (b) => {
      b[bit >> 3]! ^= 1 << (bit & 7)
      return b
    })
    const left = await dumped(copy)
    const gone = records.filter((values) => !left.includes(values[0]!))
    assert.ok(gone.length <= 1, at)
    assert.deepEqual(left, records.filter((values) => !gone.includes(values)).flat(), at)
    const { code, report } = await verified(copy)
    assert.equal(code, 1, at)
    const inLastRange = which === segments.length - 1 && RANGE_AT.includes((bit >> 3) - lastAt)
    const missing = report.missing.reduce((n, gap) => n + gap.items, 0)
    if (inLastRange) {
      // Nothing behind it tells, and the tool does not say that it knows.
      assert.ok(report.missing.every((gap) => !gap.proved) && (missing > 0 || report.damaged[0]?.items === null), at)
    } else {
      assert.equal(missing, gone[0]?.length ?? 0, at)
      assert.equal(report.lost, missing, at)
      assert.equal(report.damaged.length, 1, at)
      assert.equal(report.damaged[0]!.items, missing, at)
      const { offset, length, file } = report.damaged[0]!
      assert.equal(file, basename(segments[which]!), at)
      assert.ok(offset <= bit >> 3 && bit >> 3 < offset + length, at)
    }
    await assertRepaired(copy)
  }
})

test('several damaged records next to each other are counted together, and apart where sound ones lie between', async () => {
  const { directory } = journal()
  const [first, second] = segmentsIn(directory) as [string, string]
  edit(first, (bytes) => {
    bytes[lastRecord(bytes) + 30]! ^= 1
    return bytes
  })
  edit(second, (bytes) => {
    bytes[bytes.findIndex((_, at) => beginsRecord(bytes, at)) + 30]! ^= 1
    return bytes
  })
  const { report } = await verified(directory)
  const left = await dumped(directory)
  assert.equal(report.damaged.length, 2)
  assert.equal(sum(report.missing.map((gap) => gap.items)), sum(COUNTS) - left.length)
  await assertRepaired(directory)
})

test('a torn tail costs nothing that was acknowledged, at every length', async () => {
  const { directory, records } = journal([3, 5, 7])
  const [path] = segmentsIn(directory).slice(-1) as [string]
  const whole = readFileSync(path)
  const start = lastRecord(whole)
  for (let length = start + 1; length < whole.length; length += 9) {
    const copy = join(temporaryDirectory(), 'samples-0')
    cpSync(directory, copy, { recursive: true })
    edit(join(copy, basename(path)), (bytes) => bytes.subarray(0, length))
    const { code, report } = await verified(copy)
    assert.equal(code, 1)
    assert.deepEqual(report.torn, [{ file: basename(path), offset: start, length: length - start }])
    assert.deepEqual([report.lost, report.damaged, report.missing], [0, [], []])
    assert.match((await spool('verify', copy)).out, /torn .* nobody was told to be kept; nothing is lost/)
    assert.deepEqual(await dumped(copy), records.slice(0, -1).flat())
    await assertRepaired(copy)
  }
})

test('a missing middle segment is counted exactly, and named by its neighbours', async () => {
  const { directory } = journal()
  const [before, gone, after] = segmentsIn(directory) as [string, string, string]
  unlinkSync(gone)
  const { code, report } = await verified(directory)
  const left = await dumped(directory)
  assert.equal(code, 1)
  assert.equal(report.missing.length, 1)
  assert.equal(report.missing[0]!.items, sum(COUNTS) - left.length)
  assert.deepEqual(report.damaged, [])
  const { out } = await spool('verify', directory)
  assert.match(out, new RegExp(`between ${basename(before)} and ${basename(after)}: a file is missing`))
  await assertRepaired(directory)
  assert.match((await spool('verify', directory)).out, /sound but for what is known[\s\S]*known already/)
})

test('what is missing before the cursor is not lost', async () => {
  const { directory } = journal()
  unlinkSync(segmentsIn(directory)[1]!)
  const missing = (await verified(directory)).report.missing[0]!
  writeCursor(directory, missing.last)
  assert.equal((await verified(directory)).report.lost, 0)
  assert.match((await spool('verify', directory)).out, /stored already, nothing is lost/)
  writeCursor(directory, missing.last - 1)
  assert.equal((await verified(directory)).report.lost, 1)
})

test('a missing first segment is a loss where the cursor says that it was needed, and nothing where it was stored', async () => {
  const { directory } = journal()
  unlinkSync(segmentsIn(directory)[0]!)
  assert.equal((await verified(directory)).code, 0)
  writeCursor(directory, 1)
  const { code, report } = await verified(directory)
  assert.equal(code, 1)
  assert.equal(report.lost, report.missing[0]!.last - 1)
  await assertRepaired(directory)
})

test('a copied segment is told of and harmless', async () => {
  const { directory, records } = journal()
  const [first] = segmentsIn(directory) as [string]
  copyFileSync(first, join(directory, '000000ff.seg'))
  const { code, report } = await verified(directory)
  assert.equal(code, 0)
  assert.equal(report.repeated.length, 1)
  assert.equal(report.repeated[0]!.file, '000000ff.seg')
  assert.deepEqual(await dumped(directory), records.flat())
  const { out } = await spool('verify', directory)
  assert.match(out, /repeated +000000ff\.seg repeats \d+ records? with \d+ items of another file; harmless/)
  assert.match(out, /000000ff\.seg says that it is segment 1/)
})

test('a segment cut off in its head keeps nothing, and is counted by the one behind it', async () => {
  const { directory } = journal()
  const paths = segmentsIn(directory)
  for (const length of [0, 5, 20]) {
    const copy = join(temporaryDirectory(), 'samples-0')
    cpSync(directory, copy, { recursive: true })
    edit(join(copy, basename(paths[1]!)), (bytes) => bytes.subarray(0, length))
    const { code, report } = await verified(copy)
    assert.equal(code, 1)
    assert.equal(report.lost, sum(COUNTS) - (await dumped(copy)).length)
    await assertRepaired(copy)
  }
})

test('a damaged head loses no record', async () => {
  const { directory, records } = journal()
  for (const path of segmentsIn(directory))
    edit(path, (bytes) => {
      bytes[13]! ^= 4
      return bytes
    })
  assert.deepEqual(await dumped(directory), records.flat())
  const { code, report } = await verified(directory)
  assert.deepEqual([code, report.lost], [1, 0])
  assert.match((await spool('verify', directory)).out, /has no sound head; its records are read all the same/)
  await assertRepaired(directory)
})

test('a journal goes on after a repair, and what is known stays known', async () => {
  const { directory } = journal()
  edit(segmentsIn(directory)[1]!, (bytes) => {
    bytes[lastRecord(bytes) + 30]! ^= 1
    return bytes
  })
  await assertRepaired(directory)
  const lost = (await verified(directory)).report.lost
  const again = openJournal(directory)
  assert.equal(again.recovery.lost, lost)
  again.append([recordOf(again.end, [again.end + 1])])
  again.close()
  assert.deepEqual([(await verified(directory)).code, (await verified(directory)).report.last], [0, sum(COUNTS) + 1])
  // New damage is news again.
  edit(segmentsIn(directory)[0]!, (bytes) => {
    bytes[lastRecord(bytes) + 30]! ^= 1
    return bytes
  })
  assert.equal((await verified(directory)).code, 1)
})

test('a file of another version is said to be one, and other journals are looked at', async () => {
  const data = temporaryDirectory()
  const journals = join(data, 'collector', 'journal')
  writeJournal(join(journals, 'samples-0'), [1])
  const { directory } = writeJournal(join(journals, 'samples-1'), [2])
  const { encodeSegmentHead } = await import('../../../collector/journal/record.ts')
  const { crc32c } = await import('../../../proto/wire/crc32c.ts')
  const head = encodeSegmentHead({ sequence: 1, first: 0, horizon: 0, writer: 'test' })
  head[3] = 9
  new DataView(head.buffer).setUint32(8, crc32c(head, 12, head.length, crc32c(Uint8Array.of(9))), true)
  writeFileSync(join(directory, '00000001.seg'), head)
  const { code, out } = await spool('verify', data)
  assert.equal(code, 2)
  assert.match(out, /samples-0: sound[\s\S]*samples-1: CANNOT BE READ[\s\S]*segment version 9 is not known/)
})
