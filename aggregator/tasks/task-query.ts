/**
 * Questions about tasks: of each attempt the newest row, and what is on its way into ClickHouse waited for. A row is large; which
 * attempts make a page is found in the narrow columns, and only theirs is read of the rest.
 */
import { compareUtf8 } from '../../proto/wire/labels.ts'
import type { Database, Parameters } from '../store/clickhouse.ts'
import { VOID_STATE } from './task-details.ts'
import type { TaskFilter } from './task-filter.ts'

/** An attempt's place in the list: when it began, and among those of one time its name. */
export interface TaskPlace {
  readonly began: number
  readonly taskId: string
  readonly attempt: number
}

/** Times are ms since the epoch, 0 where they are not known. */
export interface FoundTask extends TaskPlace {
  readonly updated: number
  readonly state: string
  readonly provisional: boolean
  readonly userId: string
  readonly project: string
  readonly department: string
  readonly nodeId: string
  readonly model: string
  readonly queued: number
  readonly started: number
  readonly ended: number
  /** 1 or 0; -1: not said. */
  readonly result: number
  readonly errorCategory: string
  readonly costMicro: number
  readonly currency: string
  /** JSON: quantities of the calculation; '' where there is none. */
  readonly quantities: string
  /** JSON; '' in a list. */
  readonly details: string
}

export interface TaskQueryOptions {
  readonly db: Database
  readonly database: string
  /** Resolves when everything that was logged is in ClickHouse. */
  readonly settled: () => Promise<void>
}

/** Attempts of one task in an answer, the newest. */
const ATTEMPTS_MAX = 100
// A skipped granule may hold the newest version of a row, and an older one would be taken for it.
const FINAL = 'SETTINGS use_skip_indexes_if_final = 0'
const BEGAN = `multiIf(toUnixTimestamp64Milli(queued) > 0, toUnixTimestamp64Milli(queued),
  toUnixTimestamp64Milli(started) > 0, toUnixTimestamp64Milli(started), toUnixTimestamp64Milli(ended))`

export class TaskQuery {
  readonly #options: TaskQueryOptions

  constructor(options: TaskQueryOptions) {
    this.#options = options
  }

  /**
   * Newest first. @param after the place of the last attempt of the page before
   * @returns the attempts, and the place of the last one where there are more
   */
  async list(
    tenant: string,
    filter: TaskFilter,
    after: TaskPlace | undefined,
    limit: number,
  ): Promise<{ readonly tasks: readonly FoundTask[]; readonly next: TaskPlace | undefined }> {
    const { db, database, settled } = this.#options
    await settled()
    const { conditions, parameters } = conditionsOf(tenant, filter)
    const places = await db.rows<{ taskId: string; attempt: number; began: string }>(
      `SELECT task_id AS taskId, attempt, toString(${BEGAN}) AS began FROM ${database}.tasks FINAL
       WHERE ${conditions} ${after === undefined ? '' : `AND (${BEGAN}, task_id, attempt) < ({began:Int64}, {taskId:String}, {attempt:UInt32})`}
       ORDER BY ${BEGAN} DESC, task_id DESC, attempt DESC LIMIT {limit:UInt32} ${FINAL}`,
      { ...parameters, ...(after ?? {}), limit: limit + 1 },
    )
    const page = places.slice(0, limit)
    if (page.length === 0) return { tasks: [], next: undefined }
    // The filter once more: what has changed since does not stand where it does not belong.
    const rows = await this.#rows(
      `${conditions} AND (task_id, attempt) IN (SELECT arrayJoin(arrayZip({taskIds:Array(String)}, {attempts:Array(UInt32)})))`,
      {
        ...parameters,
        taskIds: page.map(({ taskId }) => taskId),
        attempts: page.map(({ attempt }) => attempt),
      },
      "''",
    )
    const last = page.at(-1)!
    return {
      tasks: [...rows].sort(newestFirst),
      next: places.length > limit ? { ...last, began: Number(last.began) } : undefined,
    }
  }

  /** All attempts of a task, the first first; none: there is no such task. */
  async task(tenant: string, taskId: string): Promise<readonly FoundTask[]> {
    await this.#options.settled()
    const found = await this.#rows(
      `tenant = {tenant:String} AND state != '${VOID_STATE}' AND task_id = {taskId:String} ORDER BY attempt DESC LIMIT ${ATTEMPTS_MAX}`,
      { tenant, taskId },
      'details',
    )
    return [...found].reverse()
  }

  async #rows(where: string, parameters: Parameters, json: 'details' | "''"): Promise<readonly FoundTask[]> {
    const { db, database } = this.#options
    const millis = (column: string): string => `toString(toUnixTimestamp64Milli(${column}))`
    const rows = await db.rows<
      Omit<FoundTask, 'details' | 'provisional'> & { times: readonly string[]; provisional: number; json: string }
    >(
      `SELECT task_id AS taskId, attempt, state AS state, provisional, user_id AS userId, project, department,
       node_id AS nodeId, model, result, error_category AS errorCategory, toFloat64(cost_micro) AS costMicro, currency,
       [toString(${BEGAN}), ${['updated', 'queued', 'started', 'ended'].map(millis).join(', ')}] AS times,
       JSONExtractRaw(details, 'calculation', 'usage') AS quantities, ${json} AS json
       FROM ${database}.tasks FINAL WHERE ${where} ${FINAL}`,
      parameters,
    )
    return rows.map(({ times, json: details, ...row }) => {
      const [began = 0, updated = 0, queued = 0, started = 0, ended = 0] = times.map(Number)
      return { ...row, details, provisional: row.provisional === 1, began, updated, queued, started, ended }
    })
  }
}

function newestFirst(a: TaskPlace, b: TaskPlace): number {
  return b.began - a.began || compareUtf8(b.taskId, a.taskId) || b.attempt - a.attempt
}

function conditionsOf(tenant: string, filter: TaskFilter): { conditions: string; parameters: Parameters } {
  const { equal, node, states, errorCategory, result, from, to } = filter
  const conditions = [
    'tenant = {tenant:String}',
    `state != '${VOID_STATE}'`,
    ...equal.map(([column]) => `${column} = {${column}:String}`),
    // Hosts are told apart as DNS does.
    ...(node === undefined
      ? []
      : [
          node === ''
            ? "node_id = ''"
            : 'arrayExists(name -> lower(name) = lower({node:String}), arrayPushBack(node_names, node_id))',
        ]),
    ...(states === undefined ? [] : ['state IN ({states:Array(String)})']),
    ...(errorCategory === undefined
      ? []
      : [
          errorCategory.endsWith('.')
            ? 'startsWith(error_category, {errorCategory:String})'
            : 'error_category = {errorCategory:String}',
        ]),
    ...(result === undefined ? [] : [`result = ${result ? 1 : 0}`]),
    ...(to === undefined ? [] : [`${BEGAN} < {to:Int64}`]),
    ...(from === undefined
      ? []
      : ['(toUnixTimestamp64Milli(ended) = 0 OR toUnixTimestamp64Milli(ended) >= {from:Int64})']),
  ]
  const parameters: Parameters = {
    tenant,
    ...Object.fromEntries(equal),
    ...(node === undefined ? {} : { node }),
    ...(states === undefined ? {} : { states }),
    ...(errorCategory === undefined ? {} : { errorCategory }),
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  }
  return { conditions: conditions.join(' AND '), parameters }
}

/** The place that a cursor names. */
export function readTaskPlace(cursor: string): TaskPlace | 'unknown' {
  const match = /^(\d{1,16}) (\d{1,10}) (.{0,4096})$/s.exec(cursor)
  return match === null
    ? 'unknown'
    : { began: Number(match[1]), attempt: Math.min(Number(match[2]), 4_294_967_295), taskId: match[3]! }
}

export function writeTaskPlace({ began, taskId, attempt }: TaskPlace): string {
  return Buffer.from(`${began} ${attempt} ${taskId}`).toString('base64url')
}
