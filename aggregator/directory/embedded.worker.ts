/** The thread of PGlite, a pool of exactly one: PostgreSQL in WebAssembly works on the thread that calls it, and takes its time. */
import { PGlite } from '@electric-sql/pglite'
import type { Row } from './database.ts'

export type EmbeddedTask =
  | { readonly kind: 'open'; readonly directory: string }
  | { readonly kind: 'query'; readonly sql: string; readonly parameters: readonly unknown[] }
  | { readonly kind: 'close' }

/** A refusal travels as a value: on the way between threads errors lose their code. */
export type EmbeddedReply = { readonly rows: readonly Row[] } | { readonly refused: string; readonly sqlState: string }

let database: PGlite | undefined

export default async function handle(task: EmbeddedTask): Promise<EmbeddedReply> {
  switch (task.kind) {
    case 'open':
      database = await PGlite.create(task.directory)
      return { rows: [] }
    case 'query':
      return query(task.sql, task.parameters)
    case 'close':
      await database?.close()
      database = undefined
      return { rows: [] }
    default:
      return task satisfies never
  }
}

async function query(sql: string, parameters: readonly unknown[]): Promise<EmbeddedReply> {
  if (database === undefined) throw new Error('PGlite is not open: its thread was replaced')
  try {
    return { rows: (await database.query<Row>(sql, [...parameters])).rows }
  } catch (error) {
    const { code, message } = error as { code?: unknown; message: string }
    if (typeof code !== 'string' || !/^[0-9A-Z]{5}$/.test(code)) throw error
    return { refused: message, sqlState: code }
  }
}
