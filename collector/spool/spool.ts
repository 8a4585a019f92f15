/**
 * The tool as a function: arguments in, exit code out.
 *
 *     arguments ─▶ places ─▶ survey of each journal (recovery's own walk, nothing written) ─▶ report
 *                                     └─ repair: the same walk again, over real files, under the collector's lock
 */
import type { Asked } from './arguments.ts'
import { readArguments } from './arguments.ts'
import type { Console } from './console.ts'
import { ReaderGone } from './console.ts'
import { dumpJournals } from './dump.ts'
import { COMMAND_HELP, HELP } from './help.ts'
import type { Places } from './places.ts'
import { findJournals } from './places.ts'
import { progressOn } from './progress.ts'
import type { Repaired } from './repair.ts'
import { repairJournals } from './repair.ts'
import { figuresText, findingsText, namesText, surveyJson } from './report.ts'
import { SpoolError } from './spool-error.ts'
import type { Survey, Unreadable } from './survey.ts'
import { isUnreadable, surveyJournal } from './survey.ts'
import { counted, named, size, whole } from './wording.ts'

export const EXIT_WELL = 0
export const EXIT_DAMAGE = 1
export const EXIT_WRONG = 2

/** Never rejects for what a person did or a disk holds. @returns the exit code */
export async function runSpool(argv: readonly string[], console: Console): Promise<number> {
  try {
    const asked = readArguments(argv)
    if ('help' in asked) {
      console.out(asked.help === undefined ? HELP : COMMAND_HELP[asked.help])
      return EXIT_WELL
    }
    const places = findJournals(asked.directory)
    if (places.ignored.length > 0)
      console.err(`spool: passed over, since they are no journals: ${namesText(places.ignored)}\n`)
    return await run(asked, places, console)
  } catch (error) {
    if (error instanceof ReaderGone) return EXIT_WELL
    if (!(error instanceof SpoolError)) throw error
    console.err(`spool: ${error.message}\n`)
    return EXIT_WRONG
  }
}

async function run(asked: Asked, places: Places, console: Console): Promise<number> {
  switch (asked.command) {
    case 'verify':
      return verify(asked, places, console)
    case 'stat':
      return stat(asked, places, console)
    case 'dump':
      return dumpJournals(places.journals, asked, console) ? EXIT_WELL : EXIT_WRONG
    case 'repair':
      return asked.dryRun ? verify(asked, places, console) : repair(asked, places, console)
    default:
      return asked.command satisfies never
  }
}

/** Looks through the journals, one after the other. */
function* surveys(places: Places, console: Console): Iterable<Survey | Unreadable> {
  for (const place of places.journals)
    yield surveyJournal(place, { progress: (...of) => progressOn(console, 'looking through', ...of) })
}

function verify(asked: Asked, places: Places, console: Console): number {
  const all: (Survey | Unreadable)[] = []
  for (const survey of surveys(places, console)) {
    all.push(survey)
    if (!asked.json) console.out(findingsText(survey))
  }
  if (asked.json) printJson(console, all)
  else console.out(`\n${verdict(all, asked.directory)}\n`)
  return exitCode(all)
}

function stat(asked: Asked, places: Places, console: Console): number {
  const all: (Survey | Unreadable)[] = []
  for (const survey of surveys(places, console)) {
    all.push(survey)
    if (!asked.json) console.out(figuresText(survey))
  }
  if (asked.json) printJson(console, all)
  return all.some(isUnreadable) ? EXIT_WRONG : EXIT_WELL
}

async function repair(asked: Asked, places: Places, console: Console): Promise<number> {
  const all = await repairJournals(places, console)
  const unreadable = all.some(({ after }) => isUnreadable(after) || !after.findings.sound)
  if (asked.json) {
    const journals = all.map(({ before, done, after }) => ({
      before: surveyJson(before),
      done,
      after: surveyJson(after),
    }))
    console.out(
      `${JSON.stringify({ repaired: !unreadable, lost: lostIn(all.map(({ before }) => before)), journals })}\n`,
    )
  } else for (const repaired of all) console.out(repairedText(repaired))
  return unreadable ? EXIT_WRONG : all.some(({ before, after }) => before !== after) ? EXIT_DAMAGE : EXIT_WELL
}

function repairedText({ before, done, after }: Repaired): string {
  if (isUnreadable(before) || before === after) return findingsText(before)
  const result = isUnreadable(after)
    ? `it cannot be read now: ${after.problem}`
    : after.findings.sound
      ? 'the journal is sound now'
      : 'and yet it is not sound: run verify'
  const did = [
    ...(done.quarantined > 0 ? [`${size(done.quarantined)} put aside in quarantine`] : []),
    ...(done.torn > 0 ? [`${size(done.torn)} of torn writes cut off, a copy is in quarantine`] : []),
    `${counted(done.lost, 'item')} lost`,
  ]
  return `${findingsText(before)}  repaired: ${did.join('; ')}; ${result}\n`
}

function printJson(console: Console, all: readonly (Survey | Unreadable)[]): void {
  const sound = exitCode(all) === EXIT_WELL
  console.out(`${JSON.stringify({ sound, lost: lostIn(all), journals: all.map(surveyJson) })}\n`)
}

function lostIn(all: readonly (Survey | Unreadable)[]): number {
  return all.reduce((sum, survey) => sum + (isUnreadable(survey) ? 0 : survey.findings.lost), 0)
}

function exitCode(all: readonly (Survey | Unreadable)[]): number {
  if (all.some(isUnreadable)) return EXIT_WRONG
  return all.every((survey) => !isUnreadable(survey) && survey.findings.sound) ? EXIT_WELL : EXIT_DAMAGE
}

/** The last line of verify: what it comes to, and what to do. */
function verdict(all: readonly (Survey | Unreadable)[], directory: string): string {
  const journals = counted(all.length, 'journal')
  const unreadable = all.filter(isUnreadable).length
  if (unreadable > 0) return `${whole(unreadable)} of ${journals} cannot be read: see the problem above.`
  if (exitCode(all) === EXIT_WELL) return all.length === 1 ? 'Sound.' : `All ${journals} are sound.`
  const damaged = all.filter((survey) => !isUnreadable(survey) && !survey.findings.sound).length
  return [
    `${whole(damaged)} of ${journals} ${damaged === 1 ? 'is' : 'are'} damaged, ${counted(lostIn(all), 'item')} lost.`,
    'A collector puts that right at its next start, and goes on. To do it now, with the collector stopped:',
    `  npm run spool -- repair ${named(directory)}`,
  ].join('\n')
}
