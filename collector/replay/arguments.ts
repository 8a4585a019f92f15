/** What `npm run replay` is told. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'

export const HELP = `npm run replay -- DIR [options]

Sends a recorded GPU host through a collector's ordinary doors: samples.csv (nvidia-smi --query-gpu=… --format=csv) by remote write, under
the names that the host sampler uses, and tasks.jsonl as the events of a node. Times are shifted so that it ends now.
The same recording again is the same samples and events again: what is known is called duplicate, and nothing changes.

  --speed N      times as fast as it was recorded; 1: in real time; without it as fast as it goes
  --url URL      of the collector (http://127.0.0.1:8742)
  --token TOKEN  or FLEETMETER_TOKEN, or the file "token" in FLEETMETER_DATA_DIR (./data)
  --host NAME    of the machine (the directory's name)
  --user ID      whose tasks they are (replay)
  --project ID   of the tasks (replay)
  --new-ids      other tasks: they come beside those of before
  --help

Exit status: 0; 1 where something was refused or did not answer; 2 where the recording or an option cannot be understood.
`

export interface ReplayArguments {
  readonly directory: string
  /** Infinity: as fast as it goes. */
  readonly speed: number
  readonly url: string
  readonly token: string
  readonly host: string | undefined
  readonly user: string
  readonly project: string
  readonly newIds: boolean
}

export class UsageError extends Error {}

/** @throws UsageError */
export function readArguments(argv: readonly string[], env: NodeJS.ProcessEnv): ReplayArguments | 'help' {
  const { values, positionals } = parse(argv)
  if (values.help === true) return 'help'
  const [directory, ...more] = positionals
  if (directory === undefined || more.length > 0) throw new UsageError('expected one directory')
  const speed = values.speed === undefined ? Number.POSITIVE_INFINITY : Number(values.speed)
  if (!(speed > 0)) throw new UsageError(`--speed ${values.speed}: expected a number above 0`)
  const url = values.url ?? 'http://127.0.0.1:8742'
  if (!/^https?:\/\/[^\s]+$/.test(url) || !URL.canParse(url))
    throw new UsageError(`--url ${url}: expected one such as http://127.0.0.1:8742`)
  return {
    directory,
    speed,
    url: url.replace(/\/+$/, ''),
    token: values.token ?? tokenOf(env),
    host: values.host,
    user: values.user ?? 'replay',
    project: values.project ?? 'replay',
    newIds: values['new-ids'] === true,
  }
}

const TEXT = { type: 'string' } as const
const FLAG = { type: 'boolean' } as const

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        speed: TEXT,
        url: TEXT,
        token: TEXT,
        host: TEXT,
        user: TEXT,
        project: TEXT,
        'new-ids': FLAG,
        help: { ...FLAG, short: 'h' },
      },
    })
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

/** '' where there is none: a collector may take what comes without. */
function tokenOf(env: NodeJS.ProcessEnv): string {
  const configured = env['FLEETMETER_TOKEN']?.trim() ?? ''
  if (configured !== '') return configured
  try {
    return readFileSync(join(env['FLEETMETER_DATA_DIR'] ?? 'data', 'token'), 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw new UsageError(`the token cannot be read: ${(error as Error).message}`)
  }
}
