/** `npm run replay`: see arguments.ts. */
import { messageOf } from '../../proto/runtime/errors.ts'
import { processConsole } from '../spool/console.ts'
import { HELP, readArguments, UsageError } from './arguments.ts'
import { RecordingError } from './recording.ts'
import { replay } from './replay.ts'

const console = processConsole()
try {
  const given = readArguments(process.argv.slice(2), process.env)
  if (given === 'help') console.out(HELP)
  else {
    const output = { out: console.out, err: console.err, terminal: console.columns !== undefined }
    const { refused } = await replay(given, output)
    if (refused > 0) process.exitCode = 1
  }
} catch (error) {
  const misunderstood = error instanceof UsageError || error instanceof RecordingError
  console.err(`replay: ${messageOf(error)}${error instanceof UsageError ? ' (--help)' : ''}\n`)
  process.exitCode = misunderstood ? 2 : 1
}
