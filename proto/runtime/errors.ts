/**
 * The errors that this process raises about itself, with a code for machines and a sentence for people.
 *
 * A foreign error becomes ours in the one file that imports its dependency. What a sender or reader did wrong is no
 * exception: it is an {@link Outcome} and travels back as an answer.
 */
export type ErrorCode =
  | 'FM_CONFIG' // a setting is wrong; the message lists all of them
  | 'FM_DIRECTORY_LOCKED' // another process works in the data directory
  | 'FM_DIRECTORY' // the data directory cannot be used
  | 'FM_JOURNAL_FULL' // the disk bound, or the disk itself
  | 'FM_JOURNAL_IO' // the journal's files do not do what they are told
  | 'FM_OWNER_LOG' // the owner log does not take records, or cannot be read
  | 'FM_SHARD' // a shard's worker is gone or answers nonsense
  | 'FM_STORAGE' // ClickHouse refused a statement, or is away
  | 'FM_ENGINE' // the embedded engine does not start
  | 'FM_DATABASE' // the database of operational records refused a statement, or is away
  | 'FM_DEFINITIONS' // the log of definitions cannot be written or read
  | 'FM_KAFKA' // a broker is away, slow or in the midst of an election
  | 'FM_KAFKA_REFUSED' // a broker says no to the login, or to what it may do
  | 'FM_KAFKA_TOO_LARGE' // a message that no broker of this cluster takes
  | 'FM_STOPPED' // asked after the end

/** Codes that say "later it may work". */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'FM_JOURNAL_FULL',
  'FM_JOURNAL_IO',
  'FM_OWNER_LOG',
  'FM_SHARD',
  'FM_STORAGE',
  'FM_ENGINE',
  'FM_DATABASE',
  'FM_DEFINITIONS',
  'FM_KAFKA',
])

export class FleetmeterError extends Error {
  readonly code: ErrorCode
  /** Facts for the log line: the segment, the statement, the address. */
  readonly fields: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; fields?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'FleetmeterError'
    this.code = code
    this.fields = options.fields ?? {}
  }

  get retryable(): boolean {
    return RETRYABLE.has(this.code)
  }
}

/** A sentence out of whatever was thrown, with its causes, each told once. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = (error as NodeJS.ErrnoException).code
  const own = error.message === '' ? (code ?? error.name) : error.message
  const cause = error.cause === undefined ? '' : messageOf(error.cause)
  return own.includes(cause) ? own : `${own}: ${cause}`
}
