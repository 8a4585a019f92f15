/**
 * The frame of a program: configuration, start, signals, end.
 *
 * Exit codes: 0 stopped as asked, 78 the configuration is wrong or the directory is in use, 70 it could not start or failed.
 */
import { exitWithParent, onReloadSignal, onStopSignal } from './child-process.ts'
import { FleetmeterError, messageOf } from './errors.ts'
import type { Logger } from './log.ts'
import { createLogger } from './log.ts'
import type { Supervisor } from './supervisor.ts'

const EXIT_SOFTWARE = 70
const EXIT_CONFIG = 78

/** What a program consists of, once configured. */
export interface Program {
  readonly log: Logger
  readonly supervisor: Supervisor
  /** Somebody started this program as a child: stop when they are gone. */
  readonly stopWithParent: boolean
  /** Called when everything has started: says where it listens. */
  readonly started: () => void
  /** The configuration is to be read again. */
  readonly reload: () => void
  /** Called after the last service has stopped. */
  readonly stopped: () => void
}

/** Runs until a signal, then stops in order. A second signal ends at once. Never returns normally. */
export async function runProgram(
  name: string,
  build: () => Promise<Program | { readonly print: string }>,
): Promise<void> {
  process.umask(0o077) // samples are for those with the token only
  // From the first moment: a signal that nobody waits for ends the process.
  let reload = (): void => {
    asked = true
  }
  let asked = false
  onReloadSignal(() => reload())
  const program = await attempt(name, build)
  if ('print' in program) {
    process.stdout.write(`${program.print}\n`)
    process.exit(0)
  }
  const { log, supervisor } = program
  process.on('uncaughtException', (error) => {
    log.fatal({ error: messageOf(error), stack: error.stack }, 'uncaught error')
    process.exit(EXIT_SOFTWARE)
  })
  let stopping = false
  const stop = (signal: string): void => {
    if (stopping) return
    stopping = true
    log.info({ signal }, 'stopping')
    void supervisor.stop().then(() => {
      program.stopped()
      log.info('stopped')
      process.exit(0)
    })
  }
  onStopSignal(stop)
  if (program.stopWithParent) exitWithParent(() => stop('stdin closed'))
  await attempt(name, () => supervisor.start())
  if (stopping) return
  program.started()
  reload = program.reload
  if (asked) reload()
}

async function attempt<T>(name: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    const code = error instanceof FleetmeterError ? error.code : undefined
    const expected = code === 'FM_CONFIG' || code === 'FM_DIRECTORY_LOCKED' || code === 'FM_DIRECTORY'
    if (expected) process.stderr.write(`${name}: ${messageOf(error)}\n`)
    else
      createLogger(name, 'error').fatal(
        { code, error: messageOf(error), stack: (error as Error).stack },
        'cannot start',
      )
    return process.exit(expected ? EXIT_CONFIG : EXIT_SOFTWARE)
  }
}
