/**
 * What is written about settings, out of their schemas: `--help`, and the tables of the READMEs.
 *
 *     --help            what the program is, how it is called, one line a setting, by topic
 *     --help WORD       a topic or a setting in full; `all`: everything
 */
import type { Section, Setting, Topic } from './config.ts'
import { envName, fileName, flagName, keysOf, settingOf, snake } from './config.ts'
import { nearest } from './nearest.ts'

/** What a program says of itself. */
export interface ProgramText {
  readonly name: string
  /** In a sentence. */
  readonly about: string
  /** How it is called, such as `npm run collector --`. */
  readonly command: string
}

/** Settings of a section that are about one thing. */
interface Group {
  readonly section: Section<object>
  readonly topic: Topic
  readonly keys: readonly string[]
}

const WIDTH_USUAL = 100
const WIDTH_MIN = 40
/** Longer lines are read badly. */
const WIDTH_MAX = 120
const OPTIONS: readonly (readonly [string, string])[] = [
  ['--config FILE', 'settings in YAML (in the environment: FLEETMETER_CONFIG); docker/fleetmeter.yaml has them all'],
  ['--print-config', 'what is in force and where each value came from, secrets hidden'],
  ['--help TOPIC', 'each setting of a topic in full, or one setting by its name, or "all"'],
]

/** The groups of a section, in the order in which its settings stand. */
export function groupsOf(section: Section<object>): Group[] {
  const groups: { section: Section<object>; topic: Topic; keys: string[] }[] = []
  for (const key of keysOf(section)) {
    const topic = section.topics?.[key]
    if (topic !== undefined || groups.length === 0)
      groups.push({ section, topic: topic ?? ['settings', 'Settings'], keys: [] })
    groups.at(-1)!.keys.push(key)
  }
  return groups
}

/** @param asked `topic`: what the person wrote behind --help, '' for nothing */
export function helpText(
  program: ProgramText,
  sections: readonly Section<object>[],
  asked: { readonly topic: string; readonly columns?: number | undefined },
): string {
  const width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, asked.columns ?? WIDTH_USUAL))
  const groups = sections.flatMap(groupsOf)
  if (asked.topic === '') return overview(program, groups, width)
  const found = groupsAbout(asked.topic, groups)
  if (found.length > 0) return found.map((group) => inFull(group, width)).join('\n\n')
  const words = ['all', ...groups.map(({ topic }) => topic[0])]
  const names = groups.flatMap(({ section, keys }) => keys.map((key) => fileName(section.name, key)))
  const meant = nearest(asked.topic, [...words, ...names])
  return [
    `There is no topic and no setting "${asked.topic}"${meant === undefined ? '' : ` (did you mean ${meant}?)`}.`,
    ...wrap(`Topics: ${words.join(', ')}.`, width),
  ].join('\n')
}

function overview({ name, about, command }: ProgramText, groups: readonly Group[], width: number): string {
  return [
    ...wrap(`${name}: ${about}`, width),
    '',
    `  ${command} [--config FILE] [--SETTING VALUE …]`,
    `  ${command} --help [TOPIC] | --print-config`,
    '',
    ...OPTIONS.flatMap(([option, what]) => inTwoColumns(`  ${option}`, 18, what, width)),
    '',
    ...wrap(
      'A setting is taken from the flag, else from the environment, else from the file, else it has its default. Those marked with * can be changed in the file while the program runs: kill -HUP reads it again.',
      width,
    ),
    ...groups.flatMap((group) => ['', ...brief(group, width)]),
  ].join('\n')
}

/** A line for each setting: flag and default. */
function brief({ section, topic: [word, title], keys }: Group, width: number): string[] {
  const rows = keys.map((key) => {
    const setting = settingOf(section, key)
    const star = section.reloads?.includes(key) ? '*' : ' '
    return [` ${star}--${flagName(section.name, key)} ${placeholder(setting, key)}`, defaultOf(setting, key)] as const
  })
  const column = Math.min(48, Math.max(...rows.map(([left]) => left.length)) + 2)
  return [
    ...wrap(`${title} (--help ${word})`, width),
    ...rows.flatMap(([left, right]) => inTwoColumns(left, column, right, width)),
  ]
}

function inFull({ section, topic: [, title], keys }: Group, width: number): string {
  return [
    ...wrap(title, width),
    ...keys.flatMap((key) => {
      const setting = settingOf(section, key)
      const more = [
        `default ${defaultOf(setting, key)}`,
        `in the file ${fileName(section.name, key)}`,
        `in the environment ${[envName(section.name, key), ...setting.aliases].join(', ')}`,
        section.reloads?.includes(key) ? 'SIGHUP takes it over' : 'needs a restart',
      ]
      return [
        '',
        `  --${flagName(section.name, key)} ${placeholder(setting, key)}`,
        ...wrap(setting.doc, width - 6).map((line) => `      ${line}`),
        ...wrap(`${more.join('; ')}.`, width - 6).map((line) => `      ${line}`),
      ]
    }),
  ].join('\n')
}

/** The groups that a word names, or the one setting that it names in any of its ways. */
function groupsAbout(word: string, groups: readonly Group[]): Group[] {
  if (word === 'all') return [...groups]
  const topics = groups.filter(({ topic }) => topic[0] === word)
  if (topics.length > 0) return topics
  const asked = word.replace(/^--/, '')
  return groups.flatMap((group) => {
    const { section, keys } = group
    const found = keys.filter((key) => {
      const { aliases } = settingOf(section, key)
      const names = [snake(key), fileName(section.name, key), flagName(section.name, key), envName(section.name, key)]
      return [...names, ...aliases].includes(asked)
    })
    return found.length === 0 ? [] : [{ ...group, keys: found }]
  })
}

const UNITS: readonly (readonly [end: RegExp, unit: string])[] = [
  [/Ms$/, 'ms'],
  [/PerSecond$|Qps$/, 'a second'],
  [/Seconds$/, 's'],
  [/(^m|M)inutes$/, 'minutes'],
  [/(^d|D)ays$/, 'days'],
]

/** Every name says its unit. */
function unitOf(key: string): string | undefined {
  return UNITS.find(([end]) => end.test(key))?.[1]
}

function placeholder(setting: Setting<unknown>, key: string): string {
  const unit = unitOf(key)
  if (setting.placeholder === 'NUMBER' && unit !== undefined && unit !== 'a second') return unit.toUpperCase()
  return setting.placeholder ?? 'TEXT'
}

function defaultOf(setting: Setting<unknown>, key: string): string {
  const unit = typeof setting.fallback === 'number' && setting.written === undefined ? unitOf(key) : undefined
  return unit === undefined ? setting.fallbackText : `${setting.fallbackText} ${unit}`
}

function inTwoColumns(left: string, column: number, right: string, width: number): string[] {
  const lines = wrap(right, Math.max(20, width - column))
  const rest = lines.map((line) => `${' '.repeat(column)}${line}`)
  return left.length < column
    ? [`${left.padEnd(column)}${lines[0] ?? ''}`.trimEnd(), ...rest.slice(1)]
    : [left, ...rest]
}

/** Lines of at most so many characters; a word that is longer has one of its own. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(/\s+/)) {
    const last = lines.at(-1)
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
    else lines.push(word)
  }
  return lines
}

/** A table of all settings in Markdown, for the README: the test of the README compares the two. */
export function settingsTable(sections: readonly Section<object>[]): string {
  const rows = sections.flatMap((section) =>
    keysOf(section).map((key) => {
      const s = settingOf(section, key)
      const names = [envName(section.name, key), ...s.aliases].map((name) => `\`${name}\``).join(', ')
      const star = section.reloads?.includes(key) ? ' *' : ''
      return `| \`${fileName(section.name, key)}\`${star} | ${names} | ${s.secret ? '' : `\`${s.fallbackText}\``} | ${s.doc} |`
    }),
  )
  return ['| in the file | in the environment | default | what |', '|---|---|---|---|', ...rows].join('\n')
}
