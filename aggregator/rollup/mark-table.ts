/** Marks in ClickHouse: a row each, and a second one of the same key when cleared. */
import type { Database } from '../store/clickhouse.ts'
import type { Mark, MarkTable } from './marks.ts'

export class ClickHouseMarkTable implements MarkTable {
  readonly #db: Database
  readonly #table: string

  constructor(db: Database, database: string) {
    this.#db = db
    this.#table = `${database}.rollup_marks`
  }

  add(marks: readonly Mark[]): Promise<void> {
    return this.#put(marks, 0)
  }

  clear(marks: readonly Mark[]): Promise<void> {
    return this.#put(marks, 1)
  }

  async open(): Promise<Mark[]> {
    const rows = await this.#db.rows<{ level: 1 | 2; start: string; id: string; made: string }>(
      `SELECT level, toString(toUnixTimestamp(b)) AS start, toString(id) AS id, toString(made) AS made FROM ${this.#table} FINAL WHERE cleared = 0
       SETTINGS do_not_merge_across_partitions_select_final = 1`,
    )
    return rows.map(({ level, start, id, made }) => ({ level, start: Number(start) * 1000, id, made }))
  }

  /** Removes whole days on which nothing is open any more. @param before days before this one, `2026-11-21` */
  async dropCleared(before: string): Promise<void> {
    // The result is not called `made`: a condition on that column would then mean the text.
    const days = await this.#db.rows<{ day: string }>(
      `SELECT toString(made) AS day FROM ${this.#table} FINAL WHERE made < toDate({before:String}) GROUP BY made HAVING countIf(cleared = 0) = 0
       SETTINGS do_not_merge_across_partitions_select_final = 1`,
      { before },
    )
    for (const { day } of days) await this.#db.command(`ALTER TABLE ${this.#table} DROP PARTITION '${day}'`)
  }

  async #put(marks: readonly Mark[], cleared: 0 | 1): Promise<void> {
    const values = marks.map(
      ({ level, start, id, made }) => `(${level}, ${start / 1000}, ${id}, '${made}', ${cleared})`,
    )
    await this.#db.command(`INSERT INTO ${this.#table} (level, b, id, made, cleared) VALUES ${values.join(', ')}`)
  }
}
