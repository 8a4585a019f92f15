/** Light, dark, or as the system has it: chosen once, kept on this device. */
import { useEffect, useState } from 'preact/hooks'

export const THEMES = ['auto', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

const KEY = 'fleetmeter.theme'
const systemIsDark = matchMedia('(prefers-color-scheme: dark)')

export function loadTheme(): Theme {
  const kept = localStorage.getItem(KEY)
  return THEMES.find((theme) => theme === kept) ?? 'auto'
}

/** Applies a theme; style sheets and charts follow `data-theme` of the document. */
export function applyTheme(theme: Theme): void {
  localStorage.setItem(KEY, theme)
  showTheme(theme)
}

function showTheme(theme: Theme): void {
  const dark = theme === 'dark' || (theme === 'auto' && systemIsDark.matches)
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light'
}

/** Called once, before anything is drawn. */
export function startTheme(): void {
  showTheme(loadTheme())
  systemIsDark.addEventListener('change', () => showTheme(loadTheme()))
}

/** What is shown now; changes when it does. */
export function useShownTheme(): string {
  const read = (): string => document.documentElement.dataset['theme'] ?? 'light'
  const [shown, setShown] = useState(read)
  useEffect(() => {
    const observer = new MutationObserver(() => setShown(read()))
    observer.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    return () => observer.disconnect()
  }, [])
  return shown
}
