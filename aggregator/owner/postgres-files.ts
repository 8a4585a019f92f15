/**
 * Snapshots and cursors of the owner in PostgreSQL, by name, where its log is. What is written is right whoever writes it: it follows
 * from records that are in the log. So only what takes something away asks for the generation.
 */
import type { Queries } from '../directory/database.ts'
import type { KeptFiles } from './log-files.ts'
import { MINE, PARTITION } from './owner-table.ts'

export function postgresFiles(queries: Queries, generation: number): KeptFiles {
  const own = [PARTITION, generation]
  const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
  return {
    makeDirectory: async () => {},
    list: async () => {
      const rows = await queries.query('SELECT name FROM owner_files WHERE partition = $1', [PARTITION])
      return rows.map(({ name }) => String(name))
    },
    read: async (path) => {
      const [row] = await queries.query('SELECT content FROM owner_files WHERE partition = $1 AND name = $2', [
        PARTITION,
        nameOf(path),
      ])
      return (row?.['content'] as Uint8Array | undefined) ?? new Uint8Array(0)
    },
    replace: async (_, name, content) => {
      await queries.query(
        `INSERT INTO owner_files (partition, name, content) VALUES ($1, $2, $3)
         ON CONFLICT (partition, name) DO UPDATE SET content = excluded.content`,
        [PARTITION, name, Buffer.from(content.buffer, content.byteOffset, content.byteLength)],
      )
    },
    remove: async (path) => {
      await queries.query(`WITH ${MINE} DELETE FROM owner_files USING mine WHERE partition = $1 AND name = $3`, [
        ...own,
        nameOf(path),
      ])
    },
    rename: async (from, to) => {
      await queries.query(
        `WITH ${MINE} UPDATE owner_files SET name = $4 FROM mine WHERE partition = $1 AND name = $3`,
        [...own, nameOf(from), nameOf(to)],
      )
    },
  }
}
