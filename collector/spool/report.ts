/** What a look through a journal has found, in words and as JSON. */
import type { DamagedRange, Gap } from './findings.ts'
import type { Kinds, Survey, Unreadable } from './survey.ts'
import { isUnreadable, SPOOL_KINDS } from './survey.ts'
import { arrivalTime, counted, lines, named, positions, size, whole } from './wording.ts'

type Row = readonly [name: string, text: string]

/** Names that mean nothing are shown up to here. */
const NAMES_MAX = 5

export function kindsText(kinds: Kinds): string {
  const parts = SPOOL_KINDS.flatMap((kind, i) => {
    const n = kinds[i]!
    if (n === 0) return []
    return [kind === 'metadata' ? `${whole(n)} metadata` : counted(n, kind)]
  })
  return parts.length === 0 ? 'none' : parts.join(', ')
}

export function kindsJson(kinds: Kinds): Record<string, number> {
  return Object.fromEntries(SPOOL_KINDS.map((kind, i) => [kind, kinds[i]!]))
}

/** `verify` of one journal. */
export function findingsText(survey: Survey | Unreadable): string {
  const { name } = survey.place
  if (isUnreadable(survey)) return `${named(name)}: CANNOT BE READ\n${lines([['problem', survey.problem]])}`
  const { findings, cursor } = survey
  const known = findings.ranges.length + findings.gaps.length > 0 ? 'sound but for what is known' : 'sound'
  const rows: Row[] = [
    ['segments', `${whole(survey.segments)}, ${size(survey.bytes)}`],
    ['records', whole(survey.records)],
    ['items', kindsText(survey.kinds)],
    ['positions', survey.last === undefined ? 'none' : `${whole(survey.first! + 1)} to ${whole(survey.last)}`],
    ['cursor', cursor === undefined ? 'none: nothing is known to be stored' : whole(cursor.position)],
    ...findings.ranges.map((range): Row => ['damaged', rangeText(range)]),
    ...findings.gaps.map((gap): Row => ['missing', gapText(gap)]),
    ...findings.torn.map(
      ({ file, offset, length }): Row => [
        'torn',
        `${file} at byte ${whole(offset)}: ${size(length)} of a write that nobody was told to be kept; nothing is lost`,
      ],
    ),
    ...findings.repeats.map(
      ({ file, records, items }): Row => [
        'repeated',
        `${file} repeats ${counted(records, 'record')} with ${counted(items, 'item')} of another file; harmless`,
      ],
    ),
    ...notes(survey),
  ]
  return `${named(name)}: ${findings.sound ? known : 'DAMAGED'}\n${lines(rows)}`
}

function rangeText({ file, offset, length, items, settled }: DamagedRange): string {
  const held = items === null ? 'how many items they held cannot be told' : `they held ${counted(items, 'item')}`
  const where = `${file} at byte ${whole(offset)}: ${size(length)} are no sound record, ${held}`
  return settled ? `${where}; in quarantine already` : where
}

function gapText({ from, to, items, lost, proved, after, before, ranges, settled }: Gap): string {
  const what = `${counted(items, 'item')}, ${positions(from, to)}`
  const count = lost === 0 ? 'stored already, nothing is lost' : lost === items ? 'lost' : `${whole(lost)} of them lost`
  const why =
    ranges > 0
      ? `in ${ranges === 1 ? 'the damaged bytes' : `${ranges} damaged places together`}`
      : `${between(after, before)}: a file is missing or was cut short`
  const doubt = proved ? '' : '; the damaged record itself says so, and nothing behind it proves it'
  return `${what}: ${count}; ${why}${doubt}${settled ? '; known already' : ''}`
}

function between(after: string | null, before: string | null): string {
  if (after === null) return `before ${before}`
  if (before === null) return `behind ${after}`
  return after === before ? `in ${after}` : `between ${after} and ${before}`
}

function notes({ findings, growing, removed, ignored }: Survey): Row[] {
  const texts = [
    ...findings.headless.map((file) => `${file} has no sound head; its records are read all the same`),
    ...findings.misnamed.map(({ file, sequence }) => `${file} says that it is segment ${sequence}: a copy, or renamed`),
    ...(growing ? ['a collector is writing: what came meanwhile was not looked at'] : []),
    ...(removed > 0 ? [`a collector removed ${counted(removed, 'segment')} meanwhile, stored as a whole`] : []),
    ...(ignored.length > 0 ? [`${counted(ignored.length, 'name')} that no collector uses: ${namesText(ignored)}`] : []),
  ]
  return texts.map((text): Row => ['note', text])
}

export function namesText(names: readonly string[]): string {
  const shown = names.slice(0, NAMES_MAX).map(named)
  return `${shown.join(', ')}${names.length > shown.length ? ', …' : ''}`
}

/** `stat` of one journal. */
export function figuresText(survey: Survey | Unreadable): string {
  if (isUnreadable(survey)) return findingsText(survey)
  const { place, cursor, oldest, newest, findings } = survey
  const perSample = bytesPerSample(survey)
  const rows: Row[] = [
    ['size', `${size(survey.bytes)} in ${counted(survey.segments, 'segment')}`],
    ['records', whole(survey.records)],
    ...[...survey.doors].map(([door, kinds]): Row => [door, kindsText(kinds)]),
    ['oldest', oldest === undefined ? 'none' : arrivalTime(oldest)],
    ['newest', newest === undefined ? 'none' : arrivalTime(newest)],
    ['cursor', cursor === undefined ? 'none: nothing is known to be stored' : `${whole(cursor.position)} stored`],
    ['waiting', kindsText(survey.waiting)],
    ...(perSample === undefined ? [] : [['per sample', `${perSample.toFixed(1)} bytes`] as const]),
    ...(findings.sound ? [] : [['damage', 'there is some: verify says where'] as const]),
    ...notes(survey),
  ]
  return `${named(place.name)}\n${lines(rows)}`
}

function bytesPerSample({ bytes, kinds }: Survey): number | undefined {
  return kinds[0]! === 0 ? undefined : bytes / kinds[0]!
}

/** Everything, for programs: the same of `verify`, `stat` and `repair`. */
export function surveyJson(survey: Survey | Unreadable): object {
  const { name: shard, directory } = survey.place
  if (isUnreadable(survey)) return { shard, directory, sound: false, problem: survey.problem }
  const { findings, first, last, oldest, newest } = survey
  return {
    shard,
    directory,
    sound: findings.sound,
    segments: survey.segments,
    bytes: survey.bytes,
    records: survey.records,
    items: kindsJson(survey.kinds),
    doors: Object.fromEntries([...survey.doors].map(([door, kinds]) => [door, kindsJson(kinds)])),
    first: first === undefined ? null : first + 1,
    last: last ?? null,
    oldest: oldest === undefined ? null : arrivalTime(oldest),
    newest: newest === undefined ? null : arrivalTime(newest),
    cursor: survey.cursor?.position ?? null,
    waiting: kindsJson(survey.waiting),
    bytesPerSample: bytesPerSample(survey) ?? null,
    lost: findings.lost,
    damaged: findings.ranges,
    missing: findings.gaps.map(({ from, to, ...gap }) => ({ first: from + 1, last: to, ...gap })),
    torn: findings.torn,
    repeated: findings.repeats,
    misnamed: findings.misnamed,
    headless: findings.headless,
    growing: survey.growing,
    removed: survey.removed,
    ignored: survey.ignored,
  }
}
