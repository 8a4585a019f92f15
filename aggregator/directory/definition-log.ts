/**
 * Where changes of definitions are kept before they are answered: the database may be made anew from it. The seam to the owner log;
 * until that is there, {@link FileDefinitionLog} beside PGlite, which does not sync, and nothing beside PostgreSQL, which does.
 */
export interface DefinitionRecord {
  /** What it is a definition of: `membership`, `node`, `price`; `answer`: what a request that made one was answered. */
  readonly kind: string
  /** Its id: the last record of a key is what it is. */
  readonly key: string
  /** All of it, so that a record may be applied again. */
  readonly body: unknown
}

/** Records that are of one change: all of them or none. */
export interface LoggedChange {
  /** 1, 2, 3, … */
  readonly position: number
  readonly records: readonly DefinitionRecord[]
}

export interface DefinitionLog {
  /**
   * Also after a failure, to find out what is in it.
   * @param atLeast positions go on behind this one, and behind those that are there
   * @throws FleetmeterError
   */
  open(atLeast: number): Promise<void>
  /** Position of the last change that is in it; 0: there is none. */
  readonly end: number
  /**
   * Durable once it resolves. One at a time.
   * @returns its position
   * @throws FleetmeterError; whether the change is in it is not known then, until it was opened again
   */
  append(records: readonly DefinitionRecord[]): Promise<number>
  /** The changes behind a position, in order. */
  replay(after: number): AsyncIterable<LoggedChange>
  close(): Promise<void>
}

/** For a database that keeps what it says. */
export const noDefinitionLog: DefinitionLog = {
  end: 0,
  open: async () => {},
  append: async () => 0,
  replay: async function* () {},
  close: async () => {},
}
