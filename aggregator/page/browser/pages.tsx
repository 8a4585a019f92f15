/** The ways from a page of a list to its first and its next one; nothing where there is only one. */

interface PagesProps {
  readonly label?: string
  /** Each with its text and where it is; undefined: this is it, or there is none. */
  readonly first: { readonly text: string; readonly href: string } | undefined
  readonly next: { readonly text: string; readonly href: string } | undefined
}

export function Pages({ label = 'Pages', first, next }: PagesProps) {
  if (first === undefined && next === undefined) return null
  return (
    <nav class="pages" aria-label={label}>
      {first !== undefined && <a href={first.href}>{first.text}</a>}
      {next !== undefined && <a href={next.href}>{next.text}</a>}
    </nav>
  )
}
