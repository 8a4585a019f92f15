/**
 * Why a model run failed: the closed set of categories, what each means, whether trying again helps, and who pays. A category
 * is a fact for bills and alerts, so none is ever renamed; new ones are added here and in the README's table, which a test compares.
 */

/** Whether, and how, the same run may be tried again. */
export type Retry =
  | 'no' // the same run fails again
  | 'yes'
  | 'later' // when the quota allows
  | 'backoff' // after a growing pause
  | 'maybe' // it depends on what the run needs
  | 'smaller' // with less memory on the GPU
  | 'bigger' // with more memory on the host
  | 'other_node'
  | 'other_image'

/** Who bears the run's cost. `user_used_part`: up to the cancel. `user_unverified`: the user, until somebody proves otherwise. */
export type Chargeable = 'user' | 'user_used_part' | 'user_unverified' | 'platform' | 'nobody'

export interface CategoryFacts {
  /** One line for a person. */
  readonly means: string
  readonly retry: Retry
  readonly chargeable: Chargeable
}

export type Category =
  | 'user.input'
  | 'user.code'
  | 'user.cancelled'
  | 'quota.denied'
  | 'policy.denied'
  | 'resource.oom_gpu'
  | 'resource.oom_host'
  | 'resource.disk'
  | 'resource.timeout'
  | 'sched.preempted'
  | 'sched.evicted'
  | 'sched.node_fail'
  | 'gpu.app_fault'
  | 'gpu.hardware'
  | 'gpu.thermal_power'
  | 'net.fabric'
  | 'net.transport'
  | 'storage.weights'
  | 'software.driver'
  | 'software.library'
  | 'provider.error'
  | 'provider.rate_limited'
  | 'platform.internal'
  | 'unknown'

export const CATEGORIES: Readonly<Record<Category, CategoryFacts>> = {
  'user.input': fact('the request itself cannot be served: too long, out of range, malformed', 'no', 'user'),
  'user.code': fact('the code of the run raised, asserted or diverged', 'no', 'user'),
  'user.cancelled': fact('somebody ended it on purpose', 'no', 'user_used_part'),
  'quota.denied': fact('a quota of ours, the cluster or the cloud account refused it', 'later', 'nobody'),
  'policy.denied': fact('an access or content policy refused it', 'no', 'nobody'),
  'resource.oom_gpu': fact('GPU memory ran out', 'smaller', 'user'),
  'resource.oom_host': fact('host memory ran out: its own limit, the node, or shared memory', 'bigger', 'user'),
  'resource.disk': fact('a disk or a disk quota was full', 'maybe', 'user'),
  'resource.timeout': fact('it ran into a time limit', 'maybe', 'user'),
  'sched.preempted': fact('the scheduler or a spot market took its place away', 'yes', 'platform'),
  'sched.evicted': fact('the node or an operator put it out', 'yes', 'platform'),
  'sched.node_fail': fact('its node died, shut down or was lost', 'yes', 'platform'),
  'gpu.app_fault': fact(
    'the GPU stopped a kernel of the run: the remedy is to restart the run',
    'yes',
    'user_unverified',
  ),
  'gpu.hardware': fact('a GPU is broken, lost or needs a reset', 'other_node', 'platform'),
  'gpu.thermal_power': fact('a GPU was slowed down by heat or by its power supply', 'yes', 'platform'),
  'net.fabric': fact('NVLink, NVSwitch, InfiniBand or a collective over them failed', 'yes', 'platform'),
  'net.transport': fact('an ordinary connection or a name look-up failed', 'yes', 'platform'),
  'storage.weights': fact('the model could not be loaded: missing, cut off or damaged', 'yes', 'platform'),
  'software.driver': fact('the GPU driver of the node is absent, too old or does not fit', 'other_image', 'platform'),
  'software.library': fact(
    'a library of the image is absent, or does not fit the GPU or the others',
    'other_image',
    'platform',
  ),
  'provider.error': fact('an upstream service failed (5xx)', 'backoff', 'nobody'),
  'provider.rate_limited': fact('an upstream service asked for patience (429)', 'backoff', 'nobody'),
  'platform.internal': fact('our own fault', 'yes', 'platform'),
  unknown: fact('nothing known matched', 'yes', 'platform'),
}

function fact(means: string, retry: Retry, chargeable: Chargeable): CategoryFacts {
  return { means, retry, chargeable }
}
