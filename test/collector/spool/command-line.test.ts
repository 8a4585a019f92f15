/** What a person types and gets: directories, options, help, errors; and a collector that works meanwhile. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { COMMANDS } from '../../../collector/spool/help.ts'
import { findJournals } from '../../../collector/spool/places.ts'
import type { Survey } from '../../../collector/spool/survey.ts'
import { surveyJournal } from '../../../collector/spool/survey.ts'
import { lockDirectory } from '../../../proto/runtime/directory-lock.ts'
import {
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

const MAIN = fileURLToPath(new URL('../../../dist/collector/spool/main.js', import.meta.url))

/** A data directory with two shards and the rules' journal. */
function dataDirectory(): { data: string; journals: string } {
  const data = temporaryDirectory()
  const journals = join(data, 'collector', 'journal')
  for (const [i, name] of ['samples-10', 'samples-2', 'rules'].entries())
    writeJournal(join(journals, name), [i + 1, 2, 3])
  return { data, journals }
}

/** stderr is one line with all of these, the exit code is 2, and nothing is on stdout. */
async function assertRefused(argv: readonly string[], ...says: readonly RegExp[]): Promise<void> {
  const { code, out, err } = await spool(...argv)
  assert.deepEqual([code, out], [2, ''])
  assert.match(err, /^spool: [^\n]+\.\n$/)
  for (const pattern of says) assert.match(err, pattern)
}

test('spool takes the data directory, and each directory in it down to one journal', async () => {
  const { data, journals } = dataDirectory()
  for (const directory of [data, join(data, 'collector'), journals]) {
    const { code, out } = await spool('verify', directory)
    assert.equal(code, 0)
    assert.match(
      out,
      /^samples-2: sound[\s\S]*\nsamples-10: sound[\s\S]*\nrules: sound[\s\S]*\nAll 3 journals are sound\.\n$/,
    )
  }
  assert.match((await spool('verify', join(journals, 'samples-2'))).out, /^samples-2: sound/)
})

test('spool locks where the collector does, whichever directory is given', () => {
  const { data, journals } = dataDirectory()
  const link = join(temporaryDirectory(), 'link')
  symlinkSync(join(journals, 'samples-2'), link)
  for (const directory of [data, join(data, 'collector'), journals, join(journals, 'rules'), link])
    assert.equal(findJournals(directory).lockDirectory, findJournals(data).lockDirectory)
})

test('wrong use is refused with what was wrong and what to do', async () => {
  const { data } = dataDirectory()
  await assertRefused([], /No command is given/, /verify, stat, dump, repair/)
  await assertRefused(['prune', data], /prune is no command/, /--help/)
  await assertRefused(['verify'], /No directory is given/, /npm run spool -- verify DIRECTORY/)
  await assertRefused(['verify', ''], /No directory is given/)
  await assertRefused(['verify', data, 'more'], /takes one directory/)
  await assertRefused(['verify', '--fast', data], /verify has no option --fast/, /--json/)
  await assertRefused(['stat', data, '--limit', '1'], /stat has no option --limit/)
  await assertRefused(['dump', data, '--limit'], /--limit needs a number/)
  await assertRefused(['dump', data, '--from', '-1'], /--from -1 is no number/)
  await assertRefused(['dump', data, '--from', '1e99'], /is no number/)
  await assertRefused(['dump', data, '--from', '9', '--to', '3'], /--from 9 is behind --to 3/)
})

test('what is no journal is refused, and never called sound', async () => {
  const empty = temporaryDirectory()
  const file = join(empty, 'file')
  for (const command of COMMANDS) {
    await assertRefused([command, join(empty, 'nowhere')], /there is no such directory/, /data directory/)
    await assertRefused([command, empty], /There is no journal in .*it is empty/)
  }
  writeFileSync(file, '')
  await assertRefused(['verify', file], /is not a directory/)
  await assertRefused(['verify', join(file, 'below')], /Cannot look at/)
  await assertRefused(['verify', empty], /it holds file/)
  mkdirSync(join(empty, 'collector', 'journal'), { recursive: true })
  await assertRefused(['verify', empty], /Has a collector run here yet/)
  const before = snapshot(empty)
  await spool('repair', empty)
  assert.deepEqual(snapshot(empty), before)
})

test('a journal that has taken nothing yet is sound', async () => {
  const directory = join(temporaryDirectory(), 'samples-0')
  mkdirSync(directory)
  const { code, out } = await spool('verify', directory)
  assert.equal(code, 0)
  assert.match(out, /segments +0, 0 bytes/)
  assert.equal((await spool('stat', directory)).code, 0)
  assert.equal((await spool('dump', directory)).out, '')
  assert.equal((await spool('repair', directory)).code, 0)
})

test('names that were made to deceive are escaped, and are no segments', async () => {
  const { data, journals } = dataDirectory()
  const directory = join(journals, 'samples-2')
  const names = ['\u001b[2J\nsamples-2: sound', '00000001.SEG', '00000001.seg.bak', '\u202egnp.seg', '-rf']
  for (const name of names) writeFileSync(join(directory, name), 'x')
  for (const own of ['rules', 'probe']) writeFileSync(join(directory, own), '')
  mkdirSync(join(journals, 'samples-3\u0007'))
  const { code, out, err } = await spool('verify', data)
  assert.equal(code, 0)
  assert.match(out, /5 names that no collector uses: /)
  assert.match(out, /"\\u\{1b\}\[2J\\u\{a\}samples-2: sound"/)
  assert.match(err, /no journals: "samples-3\\u\{7\}"/)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
  assert.doesNotMatch(out + err, /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
  const json = JSON.parse((await spool('verify', data, '--json')).out) as { journals: { ignored: string[] }[] }
  assert.deepEqual([...json.journals[0]!.ignored].sort(), [...names].sort())
})

test('a directory, a pipe or a device with the name of a segment is refused, at once', {
  timeout: 20_000,
}, async () => {
  const make: ((path: string) => void)[] = [
    (path) => mkdirSync(path),
    (path) => execFileSync('mkfifo', [path]),
    (path) => symlinkSync('/dev/zero', path),
  ]
  for (const [i, makeIt] of make.entries()) {
    const { directory } = writeJournal(join(temporaryDirectory(), `samples-${i}`), [1, 2])
    makeIt(join(directory, '00000099.seg'))
    const { code, out } = await spool('verify', directory)
    assert.equal(code, 2)
    assert.match(
      out,
      /CANNOT BE READ\n +problem +.*00000099\.seg has the name of a segment and is no file\. Move it out/,
    )
    assert.equal((await spool('repair', directory)).code, 2)
  }
})

test('repair does not touch a journal that a collector works on, and says who', { timeout: 30_000 }, async () => {
  const { data, journals } = dataDirectory()
  edit(segmentsIn(join(journals, 'samples-2'))[0]!, (bytes) => bytes.subarray(0, bytes.length - 1))
  const lock = await lockDirectory(join(data, 'collector'))
  try {
    const before = snapshot(journals)
    await assertRefused(
      ['repair', join(journals, 'samples-2')],
      new RegExp(`a collector \\(pid ${process.pid}\\) works in`),
      /Stop it first/,
    )
    assert.deepEqual(snapshot(journals), before)
    assert.equal((await spool('verify', data)).code, 1, 'looking needs no lock')
    assert.equal((await spool('repair', data, '--dry-run')).code, 1)
    assert.deepEqual(snapshot(journals), before)
  } finally {
    lock.release()
  }
  assert.equal((await spool('repair', data)).code, 1)
  assert.equal((await spool('verify', data)).code, 0)
})

test('repair says what it did', async () => {
  const { data, journals } = dataDirectory()
  edit(segmentsIn(join(journals, 'samples-10'))[0]!, (bytes) => {
    bytes[lastRecord(bytes) + 20]! ^= 1
    return bytes
  })
  const verify = await spool('verify', data)
  assert.equal(verify.code, 1)
  assert.match(verify.out, /samples-10: DAMAGED[\s\S]*1 of 3 journals is damaged, 3 items lost\.[\s\S]*spool -- repair/)
  const { code, out } = await spool('repair', data)
  assert.equal(code, 1)
  assert.match(out, /repaired: \d+ bytes put aside in quarantine; 3 items lost; the journal is sound now/)
  assert.match((await spool('verify', data)).out, /in quarantine already[\s\S]*known already/)
  rmSync(join(journals, 'samples-10', 'quarantine'), { recursive: true })
  const json = JSON.parse((await spool('repair', data, '--json')).out) as { repaired: boolean; lost: number }
  assert.deepEqual([json.repaired, json.lost], [true, 3])
})

test('what a collector writes and removes meanwhile is no damage', () => {
  const directory = join(temporaryDirectory(), 'samples-0')
  writeJournal(directory, [3, 5, 7, 2, 9, 4])
  writeCursor(directory, 10)
  const paths = segmentsIn(directory)
  const last = paths.at(-1)!
  const whole = readFileSync(last)
  truncateSync(last, lastRecord(whole) + 20) // a write that is going on
  let seen = 0
  const survey = surveyJournal(findJournals(directory).journals[0]!, {
    visit: () => {
      if (seen++ > 0) return
      unlinkSync(paths[0]!)
      unlinkSync(paths[1]!)
      appendFileSync(last, whole.subarray(lastRecord(whole) + 20))
    },
  }) as Survey
  assert.equal(survey.growing, true)
  assert.equal(survey.findings.sound, true)
  assert.equal(seen, 5)
})

test('what was removed before a look lies before the cursor, and is not missed', async () => {
  const directory = join(temporaryDirectory(), 'samples-0')
  writeJournal(directory, [3, 5, 7, 2, 9])
  writeCursor(directory, 3)
  unlinkSync(segmentsIn(directory)[0]!)
  const first = (await verified(directory)).report.first!
  writeCursor(directory, first - 1)
  assert.equal((await verified(directory)).code, 0)
})

test('verify, stat and dump work while the real journal is open and written to', async () => {
  const directory = join(temporaryDirectory(), 'samples-0')
  const journal = openJournal(directory)
  for (let i = 0; i < 20; i++) {
    journal.append([recordOf(journal.end, [journal.end + 1])])
    const { code, report } = await verified(directory)
    assert.deepEqual([code, report.last], [0, i + 1])
  }
  journal.close()
})

test('help is there for the tool and for each command, in lines that fit a terminal', async () => {
  const { code, out } = await spool('--help')
  assert.equal(code, 0)
  for (const command of COMMANDS) {
    assert.match(out, new RegExp(`npm run spool -- ${command}`))
    const own = await spool(command, '--help')
    assert.deepEqual([own.code, own.err], [0, ''])
    assert.match(own.out, new RegExp(`^spool ${command} DIRECTORY`))
    assert.equal((await spool('help', command)).out, own.out)
    assert.ok((out + own.out).split('\n').every((line) => line.length <= 120))
  }
})

test('the program: exit codes, streams, and a reader that leaves', () => {
  const { directory } = writeJournal(join(temporaryDirectory(), 'samples-0'), Array(300).fill(50), 1e6)
  const run = (...argv: string[]) => spawnSync(process.execPath, [MAIN, ...argv], { encoding: 'utf8', maxBuffer: 1e8 })
  assert.deepEqual([run('verify', directory).status, run('verify').status], [0, 2])
  const dump = run('dump', directory)
  assert.equal(dump.stdout.split('\n').length, 15_001)
  const head = spawnSync('sh', ['-c', `"${process.execPath}" "${MAIN}" dump "${directory}" | head -n 1`], {
    encoding: 'utf8',
  })
  assert.equal(head.stderr, '')
  assert.equal(head.stdout, `${dump.stdout.split('\n')[0]}\n`)
  edit(segmentsIn(directory)[0]!, (bytes) => bytes.subarray(0, bytes.length - 1))
  assert.equal(run('verify', directory).status, 1)
  assert.match(run('dump', directory).stderr, /samples-0 is damaged, 0 items are not in it: verify says where/)
  assert.equal(basename(directory), 'samples-0')
})
