/** The whole page: who asks, which view, what the connection is like. */
import { useCallback, useEffect, useState } from 'preact/hooks'
import type { OverviewAnswer } from '../../overview/api.ts'
import { Header } from './header.tsx'
import type { MetricQuestion } from './metric-question.ts'
import { writeQuestion } from './metric-question.ts'
import { MetricsView } from './metrics-view.tsx'
import { OverviewView } from './overview-view.tsx'
import { readPlace } from './place.ts'
import type { Polled } from './polling.ts'
import { QuotaSubjectView } from './quota-subject-view.tsx'
import { QuotasView } from './quotas-view.tsx'
import type { Credentials, Failure } from './session.ts'
import { forgetCredentials, isKeptOnDevice, keepCredentials, loadCredentials } from './session.ts'
import { SignIn } from './sign-in.tsx'
import { Status } from './status.tsx'
import { TaskView } from './task-view.tsx'
import { TasksView } from './tasks-view.tsx'

export function App() {
  const [credentials, setCredentials] = useState(loadCredentials)
  const [reason, setReason] = useState<Failure | undefined>(undefined)
  const [place, setPlace] = useState(() => readPlace(location.hash))
  const [tenants, setTenants] = useState<readonly string[]>([])
  useEffect(() => {
    const moved = (): void => setPlace(readPlace(location.hash))
    addEventListener('hashchange', moved)
    return () => removeEventListener('hashchange', moved)
  }, [])
  useEffect(() => {
    const finder = (event: KeyboardEvent): void => {
      const typing = event.target instanceof HTMLElement && event.target.matches('input, select, textarea')
      if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return
      event.preventDefault()
      location.hash = '#/metrics'
      document.getElementById('search')?.focus()
    }
    addEventListener('keydown', finder)
    return () => removeEventListener('keydown', finder)
  }, [])

  const forget = useCallback((why?: Failure) => {
    forgetCredentials()
    setReason(why)
    setCredentials(undefined)
  }, [])
  const choose = useCallback(
    (tenant: string) => {
      if (credentials === undefined) return
      const chosen: Credentials = { ...credentials, tenant }
      keepCredentials(chosen, isKeptOnDevice())
      setCredentials(chosen)
    },
    [credentials],
  )
  const question = useCallback((asked: MetricQuestion) => {
    location.hash = `#/metrics?${writeQuestion(asked)}`
  }, [])

  if (credentials === undefined)
    return (
      <>
        <Header view={undefined} />
        <SignIn reason={reason} tenant="" onSignedIn={setCredentials} />
      </>
    )
  const status = (polled: Polled<unknown>) => <Status polled={polled} onRefused={forget} />
  const overviewStatus = (polled: Polled<OverviewAnswer>) => {
    const known = polled.data?.tenants
    if (known !== undefined && known.join() !== tenants.join()) queueMicrotask(() => setTenants(known))
    return status(polled)
  }
  const shown = () => {
    switch (place.view) {
      case 'overview':
        return (
          <OverviewView credentials={credentials} host={place.host}>
            {overviewStatus}
          </OverviewView>
        )
      case 'metrics':
        return (
          <MetricsView credentials={credentials} question={place.question} onAsk={question}>
            {status}
          </MetricsView>
        )
      case 'tasks':
        return (
          <TasksView credentials={credentials} question={place.question}>
            {status}
          </TasksView>
        )
      case 'task':
        return (
          <TaskView key={place.taskId} credentials={credentials} taskId={place.taskId} attempt={place.attempt}>
            {status}
          </TaskView>
        )
      case 'quotas':
        return (
          <QuotasView credentials={credentials} question={place.question}>
            {status}
          </QuotasView>
        )
      case 'subject':
        return (
          <QuotaSubjectView
            key={`${place.question.level} ${place.question.subject}`}
            credentials={credentials}
            question={place.question}
          >
            {status}
          </QuotaSubjectView>
        )
      default:
        return place satisfies never
    }
  }
  return (
    <>
      <Header
        view={place.view}
        tenant={credentials.tenant}
        tenants={tenants}
        onTenant={choose}
        onSignOut={() => forget(undefined)}
      />
      {shown()}
    </>
  )
}
