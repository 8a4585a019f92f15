/** The head of the page: where one is, whose figures these are, light or dark. */
import { useState } from 'preact/hooks'
import type { Place } from './place.ts'
import type { Theme } from './theme.ts'
import { applyTheme, loadTheme, THEMES } from './theme.ts'

export interface HeaderProps {
  /** undefined: not signed in. */
  readonly view: Place['view'] | undefined
  readonly tenant?: string
  /** To choose from; empty: this token has no choice, or it is not known. */
  readonly tenants?: readonly string[]
  readonly onTenant?: (tenant: string) => void
  readonly onSignOut?: () => void
}

const THEME_NAMES: Readonly<Record<Theme, string>> = { auto: 'Auto', light: 'Light', dark: 'Dark' }

export function Header({ view, tenant = '', tenants = [], onTenant, onSignOut }: HeaderProps) {
  const [theme, setTheme] = useState(loadTheme)
  const choices = tenant === '' || tenants.includes(tenant) ? tenants : [tenant, ...tenants]
  return (
    <header class="page">
      <a class="brand" href="#/" aria-label="fleetmeter, overview">
        <svg viewBox="0 0 32 32" aria-hidden="true">
          <path d="M3 22h6l4-13 6 18 5-12 2 7h4" />
        </svg>
        fleetmeter
      </a>
      {view !== undefined && (
        <nav aria-label="Views">
          <a href="#/" aria-current={view === 'overview' ? 'page' : undefined}>
            Overview
          </a>
          <a href="#/tasks" aria-current={view === 'tasks' ? 'page' : view === 'task' ? 'true' : undefined}>
            Tasks
          </a>
          <a href="#/quotas" aria-current={view === 'quotas' ? 'page' : view === 'subject' ? 'true' : undefined}>
            Quotas
          </a>
          <a href="#/metrics" aria-current={view === 'metrics' ? 'page' : undefined}>
            Metrics <kbd>/</kbd>
          </a>
        </nav>
      )}
      <div class="tools">
        {(choices.length > 1 || tenant !== '') && (
          <label>
            <span>Tenant</span>
            <select value={tenant} onChange={(event) => onTenant?.(event.currentTarget.value)}>
              <option value="">Own, senders of all</option>
              {choices.map((name) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <label>
          <span>Theme</span>
          <select
            value={theme}
            onChange={({ currentTarget: { value } }) => {
              const chosen = THEMES.find((t) => t === value) ?? 'auto'
              applyTheme(chosen)
              setTheme(chosen)
            }}
          >
            {THEMES.map((t) => (
              <option key={t} value={t}>
                {THEME_NAMES[t]}
              </option>
            ))}
          </select>
        </label>
        {view !== undefined && (
          <button type="button" onClick={onSignOut}>
            Sign out
          </button>
        )}
      </div>
    </header>
  )
}
