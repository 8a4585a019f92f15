/** No token, a wrong one, or one that may not: asks for it, and says what is known. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Credentials } from './session.ts'
import { ask, Failure, isKeptOnDevice, keepCredentials } from './session.ts'

export interface SignInProps {
  /** Why it is asked for; undefined: there was none. */
  readonly reason: Failure | undefined
  readonly tenant: string
  readonly onSignedIn: (credentials: Credentials) => void
}

export function SignIn({ reason, tenant: before, onSignedIn }: SignInProps) {
  const [token, setToken] = useState('')
  const [tenant, setTenant] = useState(before)
  const [onDevice, setOnDevice] = useState(isKeptOnDevice())
  const [asking, setAsking] = useState(false)
  const [failure, setFailure] = useState(reason)
  const field = useRef<HTMLInputElement>(null)
  useEffect(() => field.current?.focus(), [])

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    const credentials = { token: token.trim(), tenant: tenant.trim() }
    if (credentials.token === '' || asking) return
    setAsking(true)
    try {
      await ask(credentials, 'v1/overview')
      keepCredentials(credentials, onDevice)
      onSignedIn(credentials)
    } catch (error) {
      setFailure(error instanceof Failure ? error : new Failure('refused', String(error)))
      field.current?.select()
    } finally {
      setAsking(false)
    }
  }

  return (
    <main class="sign-in">
      <form class="card" onSubmit={(event) => void submit(event)}>
        <h1>Sign in</h1>
        <p class="muted">
          Figures are shown to whoever has a token that may read. The first one is in the file <code>token</code> in the
          data directory.
        </p>
        <label for="token">Token</label>
        <input
          id="token"
          ref={field}
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          required
          value={token}
          aria-describedby="sign-in-problem"
          aria-invalid={failure?.kind === 'unauthorized'}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        <label for="tenant">
          Tenant <span class="muted">optional: another than the token’s own</span>
        </label>
        <input
          id="tenant"
          type="text"
          autocomplete="off"
          spellcheck={false}
          value={tenant}
          onInput={(event) => setTenant(event.currentTarget.value)}
        />
        <label class="check">
          <input type="checkbox" checked={onDevice} onChange={(event) => setOnDevice(event.currentTarget.checked)} />
          Keep on this device <span class="muted">else until the tab is closed</span>
        </label>
        <p id="sign-in-problem" class="problem" role="alert">
          {failure === undefined ? '' : problemText(failure)}
        </p>
        <button type="submit" class="primary" disabled={asking}>
          {asking ? 'Asking …' : 'Show figures'}
        </button>
      </form>
    </main>
  )
}

function problemText({ kind, message }: Failure): string {
  switch (kind) {
    case 'unauthorized':
      return 'This token is not valid here.'
    case 'forbidden':
      return message
    case 'away':
      return `No answer: ${message}`
    case 'refused':
      return message
    default:
      return kind satisfies never
  }
}
