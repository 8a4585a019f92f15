/** What stands there before the first answer. */
export function Starting({ failed }: { readonly failed: boolean }) {
  if (failed) return <p class="starting">There are no figures to show yet.</p>
  return (
    <div class="skeletons" role="status" aria-label="Loading">
      <div class="skeleton low" />
      <div class="skeleton" />
      <div class="skeleton" />
    </div>
  )
}
