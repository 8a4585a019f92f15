/** What arrives: each sender with its protocol, how much, how fresh, and what was refused and why. */
import { useState } from 'preact/hooks'
import type { RefusedAnswer, SenderAnswer } from '../../overview/api.ts'
import { counted, formatAge, formatValue, NONE } from './format.ts'

const DOOR_NAMES: Readonly<Record<string, string>> = {
  remote_write: 'Remote write',
  remote_write_2: 'Remote write 2.0',
  metrics_batch: 'Metric batch',
  host: 'Host figures',
}

/** How a door is named to people. */
export function doorName(door: string): string {
  return DOOR_NAMES[door] ?? door
}

const CREDENTIALS: Readonly<Record<string, string>> = {
  admin: 'admin token',
  none: 'no token needed',
  invalid: 'wrong token',
  missing: 'no token',
}

function credentialName(credential: string): string {
  return CREDENTIALS[credential] ?? credential.replace(/^key:/, '')
}

/** Whether somebody sends still: figures come at least once a minute from nearly everything. */
const LATE_MS = 120_000
/** So many, and all where they are asked for: hosts stand below. */
const FIRST = 8

export interface SendersTableProps {
  readonly senders: readonly SenderAnswer[]
  /** How many there are, shown or not. */
  readonly total: number
  readonly allTenants: boolean
  /** The server's clock, ms. */
  readonly now: number
}

export function SendersTable({ senders, total, allTenants, now }: SendersTableProps) {
  const [all, setAll] = useState(false)
  const shown = all ? senders : senders.slice(0, FIRST)
  return (
    <section class="card" aria-labelledby="senders-title">
      <header class="section">
        <h2 id="senders-title">What arrives</h2>
        <span class="muted">
          {senders.length < total ? `the ${senders.length} that send most, of ${total}` : counted(total, 'sender')}
        </span>
        {senders.length > FIRST && (
          <button type="button" class="end" aria-expanded={all} onClick={() => setAll(!all)}>
            {all ? `Show the first ${FIRST}` : `Show all ${senders.length}`}
          </button>
        )}
      </header>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Sender</th>
              <th scope="col" class="wide">
                Protocol
              </th>
              {allTenants && (
                <th scope="col" class="wide">
                  Tenant
                </th>
              )}
              <th scope="col" class="figure">
                Samples/s
              </th>
              <th scope="col" class="figure">
                Last request
              </th>
              <th scope="col" class="wide">
                Refused in 15 min
              </th>
              <th scope="col" class="wide">
                At collector
              </th>
            </tr>
          </thead>
          <tbody>
            {shown.map((sender) => (
              <SenderRow
                key={[sender.tenant, sender.sender, sender.credential, sender.door, sender.collector].join('\n')}
                sender={sender}
                allTenants={allTenants}
                now={now}
              />
            ))}
          </tbody>
        </table>
        {senders.length === 0 && <p class="empty">Nobody has sent anything yet.</p>}
      </div>
    </section>
  )
}

function SenderRow({ sender, allTenants, now }: { sender: SenderAnswer; allTenants: boolean; now: number }) {
  const seen = sender.last_seen === null ? undefined : Date.parse(sender.last_seen)
  const late = seen === undefined || now - seen > LATE_MS
  const none = sender.samples_refused.length + sender.requests_refused.length === 0
  const refused = (
    <>
      <RefusedList items={sender.samples_refused} of="sample" />
      <RefusedList items={sender.requests_refused} of="request" />
    </>
  )
  return (
    <tr>
      <th scope="row">
        <span class={`dot ${late ? 'late' : 'fresh'}`} aria-hidden="true" />
        {sender.sender} {sender.door !== 'host' && <span class="muted">{credentialName(sender.credential)}</span>}
        <span class="narrow">
          <span class="muted">{[doorName(sender.door), ...(allTenants ? [sender.tenant] : [])].join(', ')}</span>{' '}
          {refused}
        </span>
      </th>
      <td class="wide">{doorName(sender.door)}</td>
      {allTenants && <td class="wide">{sender.tenant}</td>}
      <td class="figure">{formatValue(sender.samples_per_second)}</td>
      <td class={`figure ${late ? 'warn' : ''}`}>{seen === undefined ? NONE : formatAge(seen, now)}</td>
      <td class="wide">{none ? <span class="muted">none</span> : refused}</td>
      <td class="wide">
        {sender.instance}
        {now - Date.parse(sender.reported_at) > LATE_MS && (
          <span class="warn"> silent, {formatAge(Date.parse(sender.reported_at), now)}</span>
        )}
      </td>
    </tr>
  )
}

function RefusedList({ items, of }: { items: readonly RefusedAnswer[]; of: string }) {
  return items.map(({ reason, count }) => (
    <span key={reason} class="refused">
      {counted(count, of)} <code>{reason}</code>
    </span>
  ))
}
