/** Definitions as the directory keeps them, made ready for decisions. */
import type { Entry } from '../directory/entry.ts'
import type { EntryTable } from '../directory/entry-table.ts'
import type { Quota as QuotaRecord } from '../directory/quota.ts'
import type { Quota } from './quota.ts'
import { QuotaIndex } from './quota.ts'
import { limitOf } from './resource.ts'
import type { QuotaWindow } from './window.ts'

/** Entries never change: of a hundred thousand, a change makes one new. */
const known = new WeakMap<Entry<QuotaRecord>, Quota>()

/** Of all tenants and times. */
export function indexOf(table: EntryTable<QuotaRecord>): QuotaIndex {
  return new QuotaIndex(table.all.map(quotaOf))
}

function quotaOf(entry: Entry<QuotaRecord>): Quota {
  const found = known.get(entry)
  if (found !== undefined) return found
  const { id, tenant, level, subject, resource, limit, enforcement, shadow, thresholds, when_unknown } = entry.record
  const quota: Quota = {
    id,
    tenant,
    level,
    subject,
    resource,
    window: windowOf(entry.record),
    limit: limitOf(resource, limit),
    enforcement,
    shadow,
    thresholds,
    whenUnknown: when_unknown,
    from: entry.from,
    to: entry.to,
  }
  known.set(entry, quota)
  return quota
}

function windowOf({ window, zone, seconds }: QuotaRecord): QuotaWindow {
  switch (window) {
    case 'rolling':
      return { kind: window, seconds: seconds! } // the directory takes no rolling one without
    case 'lifetime':
      return { kind: window }
    default:
      return { kind: window, zone }
  }
}
