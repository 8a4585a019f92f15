/** The tables of operational records, the same in PostgreSQL and in PGlite. Numbered, run once each, never changed afterwards. */
import { FleetmeterError } from '../../proto/runtime/errors.ts'
import type { OperationalDatabase } from './database.ts'

interface Migration {
  readonly version: number
  readonly statements: readonly string[]
}

const ENTRY = `
  id uuid PRIMARY KEY,
  version bigint NOT NULL,
  tenant text NOT NULL,
  valid_from timestamptz NOT NULL,
  valid_to timestamptz CHECK (valid_to >= valid_from),
  changed_at timestamptz NOT NULL`

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    statements: [
      // version: the last change; position: that of the log of definitions. Its one row is the lock of whoever changes.
      `CREATE TABLE directory_state (only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), version bigint NOT NULL, position bigint NOT NULL)`,
      `INSERT INTO directory_state (version, position) VALUES (0, 0)`,
      `CREATE TABLE memberships (${ENTRY}, user_id text NOT NULL, project text NOT NULL, department text, is_default boolean NOT NULL)`,
      `CREATE TABLE nodes (${ENTRY}, node_id text, host_name text, kubernetes_node text, instances jsonb NOT NULL, vm_type text, gpu_model text, gpu_count integer, source text NOT NULL)`,
      `CREATE TABLE prices (${ENTRY}, resource text NOT NULL, vm_type text, gpu_model text, currency text NOT NULL, amount_micros bigint NOT NULL, per bigint NOT NULL, supersedes uuid, superseded_by uuid)`,
      `CREATE INDEX memberships_version ON memberships (version, id)`,
      `CREATE INDEX nodes_version ON nodes (version, id)`,
      `CREATE INDEX prices_version ON prices (version, id)`,
      // What a request with an Idempotency-Key was answered, by who asked.
      `CREATE TABLE directory_answers (credential text NOT NULL, key text NOT NULL, request text NOT NULL, answer json NOT NULL, at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (credential, key))`,
      `CREATE INDEX directory_answers_at ON directory_answers (at)`,
    ],
  },
  {
    version: 2,
    statements: [
      `CREATE TABLE quotas (${ENTRY}, level text NOT NULL, subject text, resource text NOT NULL, "window" text NOT NULL, zone text NOT NULL, seconds bigint, "limit" bigint NOT NULL, enforcement text NOT NULL, shadow boolean NOT NULL, thresholds jsonb NOT NULL, when_unknown text NOT NULL)`,
      `CREATE INDEX quotas_version ON quotas (version, id)`,
    ],
  },
]

/** Of several aggregators that start at once, one does it. Any number, the same in all of them. */
const LOCK = 5_027_431

/**
 * Brings the tables to this version.
 * @throws FleetmeterError `FM_CONFIG` when they are of a newer one, `FM_DATABASE`
 */
export async function migrate(database: OperationalDatabase): Promise<void> {
  await database.transaction(async (queries) => {
    await queries.query(`SELECT pg_advisory_xact_lock(${LOCK})`)
    await queries.query(
      `CREATE TABLE IF NOT EXISTS migrations (version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())`,
    )
    const [row] = await queries.query('SELECT coalesce(max(version), 0) AS newest FROM migrations')
    const found = Number(row?.['newest'])
    const newest = MIGRATIONS.at(-1)!.version
    if (found > newest)
      throw new FleetmeterError(
        'FM_CONFIG',
        `The tables in ${database.name} are of version ${found}, this program knows up to ${newest}: run the version that made them, or a newer one`,
      )
    for (const { version, statements } of MIGRATIONS) {
      if (version <= found) continue
      for (const statement of statements) await queries.query(statement)
      await queries.query('INSERT INTO migrations (version) VALUES ($1)', [version])
    }
  })
}
