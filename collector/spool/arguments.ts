/** The command line, read: no more and no less than what the help says. */
import type { CommandName } from './help.ts'
import { COMMANDS } from './help.ts'
import { SpoolError } from './spool-error.ts'
import { named } from './wording.ts'

export interface Asked {
  readonly command: CommandName
  readonly directory: string
  readonly json: boolean
  readonly dryRun: boolean
  /** Positions of the first and the last item, and how many. */
  readonly from: number
  readonly to: number
  readonly limit: number
}

const SWITCHES: Readonly<Record<CommandName, readonly string[]>> = {
  verify: ['--json'],
  stat: ['--json'],
  dump: [],
  repair: ['--json', '--dry-run'],
}
const NUMBERS = ['--from', '--to', '--limit']

/**
 * @returns what is asked for, or for which help
 * @throws SpoolError for anything else
 */
export function readArguments(argv: readonly string[]): Asked | { readonly help: CommandName | undefined } {
  const [first, ...rest] = argv
  if (first === undefined) throw new SpoolError(`No command is given. ${commandsText()}`)
  if (isHelp(first) || first === 'help') return { help: COMMANDS.find((name) => name === rest[0]) }
  const command = COMMANDS.find((name) => name === first)
  if (command === undefined) throw new SpoolError(`${named(first)} is no command. ${commandsText()}`)
  if (rest.some(isHelp)) return { help: command }
  const switches = new Set<string>()
  const numbers = new Map<string, number>()
  const directories: string[] = []
  for (let i = 0; i < rest.length; i++) {
    const [name, inline] = split(rest[i]!)
    if (!name.startsWith('-')) directories.push(rest[i]!)
    else if (SWITCHES[command].includes(name) && inline === undefined) switches.add(name)
    else if (command === 'dump' && NUMBERS.includes(name)) numbers.set(name, numberOf(name, inline ?? rest[++i]))
    else throw new SpoolError(`${command} has no option ${named(rest[i]!)}. ${optionsText(command)}`)
  }
  const [directory, more] = directories
  if (directory === undefined || directory === '')
    throw new SpoolError(`No directory is given. Write: npm run spool -- ${command} DIRECTORY, for example ./data.`)
  if (more !== undefined)
    throw new SpoolError(`${command} takes one directory and was given ${named(directory)} and ${named(more)}.`)
  const from = numbers.get('--from') ?? 1
  const to = numbers.get('--to') ?? Number.POSITIVE_INFINITY
  if (from > to)
    throw new SpoolError(`--from ${from} is behind --to ${to}: nothing lies between them. Exchange the two.`)
  const limit = numbers.get('--limit') ?? Number.POSITIVE_INFINITY
  return { command, directory, json: switches.has('--json'), dryRun: switches.has('--dry-run'), from, to, limit }
}

function isHelp(argument: string): boolean {
  return argument === '--help' || argument === '-h'
}

function split(argument: string): [name: string, value: string | undefined] {
  const at = argument.startsWith('--') ? argument.indexOf('=') : -1
  return at < 0 ? [argument, undefined] : [argument.slice(0, at), argument.slice(at + 1)]
}

function numberOf(name: string, text: string | undefined): number {
  if (text === undefined) throw new SpoolError(`${name} needs a number behind it, such as ${name} 1000.`)
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (!Number.isSafeInteger(value))
    throw new SpoolError(`${name} ${named(text)} is no number: write a whole one, 0 or more, without separators.`)
  return value
}

function commandsText(): string {
  return `There are ${COMMANDS.join(', ')}; --help says what they do.`
}

function optionsText(command: CommandName): string {
  const options = command === 'dump' ? NUMBERS : SWITCHES[command]
  return `It has ${[...options, '--help'].join(', ')}. A directory whose name begins with "-" is written as ./-name.`
}
