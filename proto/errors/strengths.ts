/**
 * What decides when several rules match: the stronger one. Hardware evidence inside the run's window beats every text; below that
 * what somebody stated as the reason beats what merely went wrong. Two of one strength: the one earlier in the text, since in a
 * log of many processes the first failure is the cause of the rest; then the longer match, then the id, so that the order of
 * the tables never matters.
 */
export const STRENGTHS = {
  /** Evidence: a broken GPU, link or driver. */
  hardware: 100,
  /** Evidence: a quota or a policy said no before the run began. */
  refused: 95,
  /** Evidence: somebody cancelled. */
  cancelled: 90,
  /** Evidence: the final state that Slurm or Kubernetes gives. */
  scheduler: 85,
  /** Evidence: an XID of the application's own making. */
  fault: 80,
  /** Text in which scheduler, kernel, driver or monitor states the reason. */
  stated: 75,
  /** Text that names one specific thing that went wrong. */
  specific: 70,
  /** Evidence: clocks forced down. Slow clocks end no process by themselves: they explain a timeout, not an exception. */
  throttled: 60,
  /** Evidence: the weights did not load. Text that says why (memory, disk, access) is better, so this comes after it. */
  load: 55,
  /** Text: a time limit of one call, an interrupt. */
  limit: 50,
  /** Evidence: GPU memory at its limit. Servers that reserve all of it look the same in health. */
  full: 45,
  /** Text that often follows from another failure elsewhere: a peer went away, a collective hung. */
  symptom: 40,
  /** Text: an exception's class, and no more. */
  general: 10,
} as const

export type Strength = keyof typeof STRENGTHS
