/** A row of a Markdown table of figures. */
export function row(name: string, figures: readonly (number | undefined)[], digits = 2): void {
  console.log(`| ${[name, ...figures.map((n) => n?.toFixed(digits) ?? '')].join(' | ')} |`)
}
