/**
 * Named places where a test may kill this process, to prove what a crash right there does. Off unless `fault` is configured.
 *
 *     FLEETMETER_FAULT=journal.append.before:3     SIGKILL itself when it passes that place for the third time
 */
export type FaultPoint =
  | 'journal.append.before' // validated, nothing written
  | 'journal.append.after' // written, sender not answered
  | 'batch.send.before' // sender answered, batch not sent
  | 'store.rows.after' // rows in ClickHouse, collector not answered
  | 'cursor.before' // answered "stored", cursor not written
  | 'owner.append.before' // events for the owner log came in, nothing written
  | 'owner.append.after' // in the owner log, not applied, collector not answered
  | 'events.rows.after' // rows of events in ClickHouse, collector not answered

export type Faults = (point: FaultPoint) => void

/** @param spec `point:count`, or empty for none */
export function faultsFrom(spec: string): Faults {
  const [point, count] = spec.split(':')
  if (point === undefined || point === '') return () => {}
  let left = Number(count ?? 1)
  return (passed) => {
    if (passed === point && --left === 0) process.kill(process.pid, 'SIGKILL')
  }
}
