/** `npm run spool`: see help.ts. */
import { messageOf } from '../../proto/runtime/errors.ts'
import { processConsole } from './console.ts'
import { EXIT_WRONG, runSpool } from './spool.ts'

process.umask(0o077) // what a repair puts aside is for those who may read the journal only
const console = processConsole()
try {
  process.exitCode = await runSpool(process.argv.slice(2), console)
} catch (error) {
  console.err(`spool: ${messageOf(error)}\n`)
  process.exitCode = EXIT_WRONG
}
