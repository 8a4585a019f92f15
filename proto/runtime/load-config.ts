/**
 * Reads the settings of a program from four places, the later ones winning:
 *
 *     default  <  YAML file (--config FILE)  <  environment  <  flag
 *
 * All that is wrong is said at once, each with its place, the value and what is allowed; the program then exits with 78
 * (EX_CONFIG).
 */
import * as v from 'valibot'
import type { Section } from './config.ts'
import { envName, fileName, flagName, keysOf, settingOf, snake } from './config.ts'
import type { ConfigFile } from './config-file.ts'
import { NO_FILE, readConfigFile } from './config-file.ts'
import type { ProgramText } from './config-help.ts'
import { helpText } from './config-help.ts'
import { printConfig } from './config-print.ts'
import { FleetmeterError } from './errors.ts'
import { nearest } from './nearest.ts'

/** What a configuration is read from besides the sections; made of a process by main.ts only. */
export interface ConfigSources {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Width of the terminal that --help is for; absent: as wide as a terminal usually is. */
  readonly columns?: number | undefined
}

/** Where a value came from: `default`, `environment NAME`, `flag --name`, `FILE:LINE`. */
export type Origins = ReadonlyMap<string, string>

export interface ReadConfig {
  /** Values by section, in the order of the sections. */
  readonly values: readonly Readonly<Record<string, unknown>>[]
  /** By the name that a setting has in the file. */
  readonly origins: Origins
  /** --help or --print-config was asked for: print this and exit 0. */
  readonly print: string | undefined
}

export interface LoadedConfig<A, B> extends Pick<ReadConfig, 'origins' | 'print'> {
  readonly shared: Readonly<A>
  readonly own: Readonly<B>
}

/**
 * Reads the shared section and the program's own.
 * @param others names of the sections of other programs, whose settings are passed over
 * @throws FleetmeterError `FM_CONFIG` with every problem in its message
 */
export function loadConfig<A extends object, B extends object>(
  program: ProgramText,
  shared: Section<A>,
  own: Section<B>,
  others: readonly string[],
  sources: ConfigSources,
): LoadedConfig<A, B> {
  const { values, origins, print } = readConfig(program, [shared, own], others, sources)
  return { shared: values[0] as A, own: values[1] as B, origins, print }
}

/** Where a value may stand. */
interface Places {
  readonly flags: ReadonlyMap<string, string>
  readonly env: ConfigSources['env']
  readonly file: ConfigFile
}

/** As {@link loadConfig}, of any sections. @throws FleetmeterError `FM_CONFIG` with every problem in its message */
export function readConfig(
  program: ProgramText,
  sections: readonly Section<object>[],
  others: readonly string[],
  { argv, env, columns }: ConfigSources,
): ReadConfig {
  const problems: string[] = []
  const { values: flags, switches, help } = readFlags(argv, problems)
  if (help !== undefined) {
    const print = helpText(program, sections, { topic: help, columns })
    return { values: sections.map((section) => defaults(section)), origins: new Map(), print }
  }
  const path = flags.get('config') ?? (env['FLEETMETER_CONFIG'] || undefined)
  const file = path === undefined ? NO_FILE : readConfigFile(path, problems)
  checkFlags(flags, sections, others, problems)
  checkEnvironment(env, sections, others, problems)
  checkFile(file, sections, others, problems)
  const origins = new Map<string, string>()
  const values = sections.map((section) => readSection(section, { flags, env, file }, origins, problems))
  if (problems.length > 0) {
    throw new FleetmeterError(
      'FM_CONFIG',
      `The configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n  ${problems.join('\n  ')}`,
    )
  }
  return { values, origins, print: switches.has('print-config') ? printConfig(sections, values, origins) : undefined }
}

function defaults(section: Section<object>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(keysOf(section).map((key) => [key, settingOf(section, key).fallback]))
}

function readSection(
  section: Section<object>,
  places: Places,
  origins: Map<string, string>,
  problems: string[],
): Readonly<Record<string, unknown>> {
  const out: Record<string, unknown> = {}
  for (const key of keysOf(section)) {
    const { schema, fallback, secret } = settingOf(section, key)
    const set = settingValue(section, key, places)
    origins.set(fileName(section.name, key), set?.origin ?? 'default')
    if (set === undefined) {
      out[key] = fallback
      continue
    }
    const result = v.safeParse(schema, set.value)
    if (result.success) out[key] = result.output
    else {
      const shown = secret ? 'the value' : quote(set.value)
      for (const message of new Set(result.issues.map((issue) => issue.message)))
        problems.push(`${set.where}: ${shown} is not allowed: ${message}`)
    }
  }
  return Object.freeze(out)
}

/** The value of the most important place that has one; an empty variable is none. */
function settingValue(
  { name, settings }: Section<object>,
  key: string,
  { flags, env, file }: Places,
): { readonly value: unknown; readonly where: string; readonly origin: string } | undefined {
  const flag = flagName(name, key)
  if (flags.has(flag)) return { value: flags.get(flag), where: `--${flag}`, origin: `flag --${flag}` }
  const { aliases } = settingOf({ name, settings }, key)
  const variable = [envName(name, key), ...aliases].find((one) => (env[one] ?? '') !== '')
  if (variable !== undefined) return { value: env[variable], where: variable, origin: `environment ${variable}` }
  const inFile = sectionOf(file, name)?.[snake(key)]
  if (inFile === undefined || inFile === null) return undefined
  const place = name === '' ? file.placeOf(snake(key)) : file.placeOf(name, snake(key))
  return { value: inFile, where: `${place}: ${fileName(name, key)}`, origin: place }
}

function sectionOf(file: ConfigFile, name: string): Readonly<Record<string, unknown>> | undefined {
  const found = name === '' ? file.values : file.values[name]
  return typeof found === 'object' && found !== null ? (found as Record<string, unknown>) : undefined
}

const SHOWN_MAX = 120

function quote(value: unknown): string {
  const text = typeof value === 'object' ? JSON.stringify(value) : `"${String(value)}"`
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}…` : text
}

/** @returns `help`: what help is asked about, '' for all of it; undefined: none is */
function readFlags(
  argv: readonly string[],
  problems: string[],
): { values: Map<string, string>; switches: Set<string>; help: string | undefined } {
  const values = new Map<string, string>()
  const switches = new Set<string>()
  let help: string | undefined
  for (let i = 0; i < argv.length; i++) {
    const [name, inline] = split(argv[i]!)
    if (name === '--help' || name === '-h') {
      const next = argv[i + 1]
      help = inline ?? (next?.startsWith('-') ? '' : (next ?? ''))
      if (inline === undefined && help !== '') i++
    } else if (name === '--print-config' && inline === undefined) switches.add('print-config')
    else if (!/^--[a-z][a-z0-9-]*$/.test(name))
      problems.push(`"${argv[i]}": expected a flag such as --data-dir DIR; --help lists them`)
    else {
      // A value may begin with one hyphen, a flag begins with two.
      const value = inline ?? (argv[i + 1]?.startsWith('--') ? undefined : argv[i + 1])
      if (value === undefined) problems.push(`${name}: a value is missing`)
      else values.set(name.slice(2), value)
      if (inline === undefined && value !== undefined) i++
    }
  }
  return { values, switches, help }
}

function split(argument: string): [name: string, value: string | undefined] {
  const at = argument.startsWith('--') ? argument.indexOf('=') : -1
  return at < 0 ? [argument, undefined] : [argument.slice(0, at), argument.slice(at + 1)]
}

function checkFlags(
  flags: ReadonlyMap<string, string>,
  sections: readonly Section<object>[],
  others: readonly string[],
  problems: string[],
): void {
  const known = new Set(['config', ...sections.flatMap((s) => keysOf(s).map((key) => flagName(s.name, key)))])
  for (const name of flags.keys()) {
    if (known.has(name) || others.some((other) => name.startsWith(`${other}-`))) continue
    problems.push(`--${name}: there is no such flag${meant(nearest(name, ['help', 'print-config', ...known]), '--')}`)
  }
}

function checkEnvironment(
  env: ConfigSources['env'],
  sections: readonly Section<object>[],
  others: readonly string[],
  problems: string[],
): void {
  const names = sections.flatMap((s) => keysOf(s).map((key) => envName(s.name, key)))
  const known = new Set(['FLEETMETER_CONFIG', ...names])
  for (const name of Object.keys(env)) {
    if (!name.startsWith('FLEETMETER_') || known.has(name)) continue
    if (others.some((other) => name.startsWith(`FLEETMETER_${other.toUpperCase()}_`))) continue
    problems.push(`${name}: there is no such setting${meant(nearest(name, known))}`)
  }
}

function checkFile(
  file: ConfigFile,
  sections: readonly Section<object>[],
  others: readonly string[],
  problems: string[],
): void {
  const names = sections.filter(({ name }) => name !== '').map(({ name }) => name)
  const top = sections.filter(({ name }) => name === '').flatMap((section) => keysOf(section).map(snake))
  for (const key of Object.keys(file.values)) {
    if (top.includes(key) || names.includes(key) || others.includes(key)) continue
    const suggestion = nearest(key, [...top, ...names, ...others]) ?? elsewhere(key, sections)
    problems.push(`${file.placeOf(key)}: ${key}: there is no such setting${meant(suggestion)}`)
  }
  for (const section of sections) if (section.name !== '') checkSection(file, section, sections, problems)
}

function checkSection(
  file: ConfigFile,
  section: Section<object>,
  sections: readonly Section<object>[],
  problems: string[],
): void {
  const { name } = section
  const inFile = file.values[name]
  if (inFile === undefined || inFile === null) return
  if (typeof inFile !== 'object' || Array.isArray(inFile)) {
    problems.push(`${file.placeOf(name)}: ${name}: expected settings below it`)
    return
  }
  const keys = keysOf(section).map(snake)
  for (const key of Object.keys(inFile)) {
    if (keys.includes(key)) continue
    const suggestion = nearest(key, keys) ?? elsewhere(key, sections)
    problems.push(`${file.placeOf(name, key)}: ${name}.${key}: there is no such setting${meant(suggestion)}`)
  }
}

/** A setting of that name in another section. */
function elsewhere(key: string, sections: readonly Section<object>[]): string | undefined {
  const found = sections.find((section) => keysOf(section).map(snake).includes(key))
  if (found === undefined) return undefined
  return found.name === '' ? `${key}, in no section` : `${found.name}.${key}`
}

function meant(suggestion: string | undefined, prefix: string = ''): string {
  return suggestion === undefined ? '; --help lists them all' : ` (did you mean ${prefix}${suggestion}?)`
}
