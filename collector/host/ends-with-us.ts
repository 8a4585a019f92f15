/**
 * A process that hangs outlives whoever started it when that one is killed with -9: no handler of ours runs then, and what writes
 * nothing never notices that nobody reads. Linux kills it with its parent where it is asked to, and util-linux' `setpriv` asks: it
 * then becomes the program, so no process is added, and pid, exit code and signals are the program's own.
 */
import { execFile } from 'node:child_process'
import { delimiter } from 'node:path'
import { promisify } from 'node:util'
import { findProgram } from './find-program.ts'

const PROBE_MS = 2000

/**
 * What to put before a command. Empty where it is not to be had: an image without setpriv (the container's end is the program's end
 * there), one older than 2.33, macOS.
 *
 * @param env of the program
 */
export async function endsWithUs(env: Readonly<Record<string, string | undefined>>): Promise<readonly string[]> {
  const setpriv = await findProgram('setpriv', (env['PATH'] ?? '').split(delimiter))
  if (setpriv === undefined) return []
  const before = [setpriv, '--pdeathsig', 'KILL'] as const
  try {
    await promisify(execFile)(setpriv, [...before.slice(1), 'true'], {
      env: env as NodeJS.ProcessEnv,
      timeout: PROBE_MS,
      killSignal: 'SIGKILL',
    })
    return before
  } catch {
    return [] // it does not know the option
  }
}
