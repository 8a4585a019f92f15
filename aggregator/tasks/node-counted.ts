/**
 * What was counted of tasks by node, and when they had which GPUs: the rows of `usage` and `tasks`. Those of the asking tenant, and, for
 * the operator, those of others that are calculated of the operator's samples; of these nothing but the amounts leaves this module.
 */
import { QueryTooLarge } from '../query/metric-query.ts'
import type { Database, Parameters } from '../store/clickhouse.ts'
import { dateTimeSeconds } from '../store/date-time.ts'
import { jsonRows } from '../store/json-rows.ts'
import type { Span } from './step-function.ts'
import { VOID_STATE } from './task-details.ts'

/** A machine as tasks know it. */
export interface TaskNode {
  readonly tenant: string
  /** '': no event named it. */
  readonly name: string
  readonly names: readonly string[]
}

/** When one attempt had what. */
export interface TaskWindow extends TaskNode, Span {
  readonly gpus: readonly string[]
  /** How many more it named that no series is of. */
  readonly unseen: number
}

/** Of all tasks on a node in a slot. */
export interface NodeCounted extends TaskNode {
  readonly slot: number
  /** µs of GPUs. */
  readonly amount: number
  /** '': nothing says what it costs. */
  readonly currency: string
  readonly costMicro: number
}

export interface CountedQuestion extends Span {
  readonly tenant: string
  /** Whether it is the operator's. */
  readonly operator: boolean
  /** In lower case; undefined: all nodes. */
  readonly names: readonly string[] | undefined
}

const WINDOWS_MAX = 200_000
/** Of all windows together. */
const WINDOW_GPUS_MAX = 2_000_000
const ROWS_MAX = 500_000
const FINAL = 'SETTINGS do_not_merge_across_partitions_select_final = 1, use_skip_indexes_if_final = 0'

export class NodeCounts {
  readonly #db: Database
  readonly #database: string

  constructor(db: Database, database: string) {
    this.#db = db
    this.#database = database
  }

  /** Of attempts that have figures. @throws QueryTooLarge */
  async windows(question: CountedQuestion): Promise<TaskWindow[]> {
    const tasks = `${this.#database}.tasks FINAL`
    const then = `toUnixTimestamp64Milli(started) < {to:Int64}
      AND (toUnixTimestamp64Milli(ended) = 0 OR toUnixTimestamp64Milli(ended) > {from:Int64})`
    const there = `${ofNodes(question)} AND ${then} ${question.operator ? '' : 'AND tenant = {tenant:String}'}`
    const parameters = parametersOf(question)
    const [found] = await this.#db.rows<{ count: string }>(
      `SELECT toString(count()) AS count FROM ${tasks} WHERE ${there} ${FINAL}`,
      parameters,
    )
    if (Number(found?.count) > WINDOWS_MAX) throw tooMany(`more than ${WINDOWS_MAX} tasks`)
    const parts = ofTenants(question).map(
      (whose) => `SELECT tenant, node_id AS name, node_names AS names,
       arrayMap(one -> JSONExtractString(one, 'gpu'), JSONExtractArrayRaw(details, 'calculation', 'gpus')) AS gpus,
       greatest(0, toInt32(JSONLength(details, 'record', 'facts', 'gpus')) - toInt32(length(gpus))) AS unseen,
       JSONExtractFloat(details, 'calculation', 'window', 'from') AS begun, JSONExtractFloat(details, 'calculation', 'window', 'to') AS until
       FROM ${tasks} WHERE ${whose} AND ${ofNodes(question)} AND ${then} AND JSONHas(details, 'calculation', 'window')
       AND (tenant, task_id, attempt) IN (SELECT tenant, task_id, attempt FROM ${tasks} WHERE ${there})`,
    )
    const rows = this.#db.stream(
      `SELECT * FROM (${parts.join(' UNION ALL ')}) LIMIT ${WINDOWS_MAX} ${FINAL}`,
      'JSONEachRow',
      parameters,
    )
    const windows: TaskWindow[] = []
    let gpus = 0
    for await (const { begun, until, ...row } of jsonRows<TaskWindow & { begun: number; until: number }>(rows)) {
      gpus += row.gpus.length
      if (gpus > WINDOW_GPUS_MAX) throw tooMany(`tasks that had more than ${WINDOW_GPUS_MAX} GPUs`)
      windows.push({ ...row, unseen: Number(row.unseen), from: begun, to: until })
    }
    return windows
  }

  /** @param question from and to at beginnings of slots @throws QueryTooLarge */
  async counted(question: CountedQuestion): Promise<NodeCounted[]> {
    const { tenant, operator } = question
    const usage = `${this.#database}.usage FINAL WHERE ${operator ? '1' : 'tenant = {tenant:String}'} AND resource = 'gpu_seconds'
      AND slot >= fromUnixTimestamp({fromSeconds:UInt32}) AND slot < fromUnixTimestamp({toSeconds:UInt32})`
    const tasks = ofTenants(question).map(
      (
        whose,
      ) => `SELECT tenant, task_id, attempt, node_id AS name, node_names AS names FROM ${this.#database}.tasks FINAL
       WHERE ${whose} AND ${ofNodes(question)} AND (tenant, task_id) IN (SELECT tenant, task_id FROM ${usage})`,
    )
    const rows = this.#db.stream(
      `SELECT tenant, name, names, toString(toUnixTimestamp(slot)) AS seconds, toString(currency) AS paid,
       toString(toInt64(sum(amount) * 1000000)) AS micros, toString(sum(cost_micro)) AS cost
       FROM (SELECT * FROM ${usage}) AS counted INNER JOIN (${tasks.join(' UNION ALL ')}) AS task USING (tenant, task_id, attempt)
       GROUP BY tenant, name, names, slot, currency HAVING sum(amount) != 0 OR sum(cost_micro) != 0 LIMIT ${ROWS_MAX + 1} ${FINAL}`,
      'JSONEachRow',
      {
        ...parametersOf(question),
        tenant,
        fromSeconds: dateTimeSeconds(question.from),
        toSeconds: dateTimeSeconds(question.to),
      },
    )
    const out: NodeCounted[] = []
    for await (const row of jsonRows<TaskNode & Record<'seconds' | 'paid' | 'micros' | 'cost', string>>(rows))
      out.push({
        tenant: row.tenant,
        name: row.name,
        names: row.names,
        slot: Number(row.seconds) * 1000,
        amount: Number(row.micros),
        currency: row.paid,
        costMicro: Number(row.cost),
      })
    if (out.length > ROWS_MAX) throw tooMany(`more than ${ROWS_MAX} sums`)
    return out
  }
}

/** Conditions, one of which holds: a row's details are large, and read of other tenants' alone. */
function ofTenants({ operator }: CountedQuestion): string[] {
  const others = "tenant != {tenant:String} AND JSONExtractString(details, 'who', 'samplesOf') = 'operator'"
  return ['tenant = {tenant:String}', ...(operator ? [others] : [])]
}

/** What was taken back of an attempt that turned out to be part of another sums up to nothing. */
function ofNodes({ names }: CountedQuestion): string {
  const named = 'arrayExists(n -> has({names:Array(String)}, lower(n)), arrayPushBack(node_names, node_id))'
  return `state != '${VOID_STATE}'${names === undefined ? '' : ` AND ${named}`}`
}

function parametersOf({ tenant, names, from, to }: CountedQuestion): Parameters {
  return { tenant, from, to, ...(names === undefined ? {} : { names }) }
}

function tooMany(what: string): QueryTooLarge {
  return new QueryTooLarge(`${what} in that time: ask for a shorter period, or for one node`)
}
