/**
 * Which words of an error text mean which category. Data, in no order that matters (`strengths.ts`); the syntax of a pattern is in
 * `pattern.ts`. A rule is one way to fail: its patterns are how different programs say it.
 */
import type { Category } from './categories.ts'
import { CLUSTER_RULES } from './cluster-rules.ts'
import { HARDWARE_RULES } from './hardware-rules.ts'
import { SOFTWARE_RULES } from './software-rules.ts'
import type { Strength } from './strengths.ts'

/** Changes with every rule: what is stored names the version it was found by. */
export const RULES_VERSION = '2026-11-21'

export interface TextRule {
  /** Stable: stored with every finding. */
  readonly id: string
  readonly category: Category
  /** OpenTelemetry's `error.type`: one of a few words. */
  readonly type: string
  readonly strength: Strength
  readonly any: readonly string[]
}

const RUN_RULES: readonly TextRule[] = [
  {
    id: 'context_length',
    category: 'user.input',
    type: 'context_length',
    strength: 'specific',
    any: [
      "model's maximum context length",
      'is too long to fit into the model',
      'prompt length of * is longer than the maximum model length',
      'token indices sequence length is longer than the specified maximum sequence length for this model!',
      'prompt is too long',
      'input is too long',
      'context_length_exceeded',
      'inputs` tokens + `max_new_tokens` must be',
      'please reduce the length of the messages',
      'input token count * exceeds the maximum number of tokens',
      'exceeds the context window',
      'exceeds the available context size',
      'request payload size exceeds',
    ],
  },
  {
    id: 'bad_request',
    category: 'user.input',
    type: 'bad_request',
    strength: 'limit',
    any: [
      'max_tokens must be at least',
      'input validation error',
      'error code: 400',
      "client error '400 bad request'",
      '400 bad request',
      'badrequesterror',
      'invalidrequesterror',
      'malformed input request',
      'ValidationException',
      'has to be a strictly positive float',
      'error code: 422',
      '422 unprocessable entity',
    ],
  },
  {
    id: 'diverged',
    category: 'user.code',
    type: 'diverged',
    strength: 'specific',
    any: [
      'loss became infinite or nan',
      'minimum loss scale reached',
      'loss scale already at minimum',
      'probability tensor contains either `inf`, `nan` or element < 0',
      'found nan in local grad norm',
      'loss is * stopping training',
      'returned nan values in its * output',
    ],
  },
  {
    id: 'tensor_mismatch',
    category: 'user.code',
    type: 'tensor_mismatch',
    strength: 'specific',
    any: [
      'shapes cannot be multiplied',
      'indices should be either on cpu or on the same device as the indexed tensor',
      'expected all tensors to be on the same device',
      'the size of tensor a * must match the size of tensor b',
      'sizes of tensors must match except in dimension',
      'mat1 and mat2 must have the same dtype',
      'element 0 of tensors does not require grad',
      'error(s) in loading state_dict for',
      'trying to backward through the graph a second time',
      'one of the variables needed for gradient computation has been modified by an inplace operation',
      'is invalid for input of size',
      'one of the differentiated tensors appears to not have been used in the graph',
      'device index must be -1 or non-negative',
    ],
  },
  {
    id: 'device_assert',
    category: 'user.code',
    type: 'device_assert',
    strength: 'specific',
    any: ['device-side assert triggered', 'cudaErrorAssert'],
  },
  {
    id: 'python_exception',
    category: 'user.code',
    type: 'exception',
    strength: 'general',
    any: [
      'AssertionError',
      'AttributeError:',
      'FileNotFoundError:',
      'ImportError:',
      'IndentationError:',
      'IndexError:',
      'KeyError:',
      'ModuleNotFoundError:',
      'NameError:',
      'NotImplementedError',
      'RecursionError:',
      'SyntaxError:',
      'TypeError:',
      'UnboundLocalError:',
      'UnicodeDecodeError:',
      'ValueError:',
      'ZeroDivisionError:',
      'JSONDecodeError:',
    ],
  },
  {
    id: 'interrupted',
    category: 'user.cancelled',
    type: 'interrupted',
    strength: 'limit',
    any: [
      'KeyboardInterrupt',
      'received sigint',
      'terminated due to a ctrl+c or ctrl+break signal',
      'aborted by user',
      'cancelled by user',
      'canceled by user',
      'cancelled by the user',
      'canceled by the user',
    ],
  },
  {
    id: 'cancelled',
    category: 'user.cancelled',
    type: 'cancelled',
    strength: 'symptom',
    any: [
      'cancelled at *',
      'CancelledError',
      'TaskCancelledError',
      'TaskCanceledException',
      'context canceled',
      'execution was cancelled',
      'request was aborted',
      'operation was canceled',
      'operation was cancelled',
    ],
  },
  {
    id: 'cluster_quota',
    category: 'quota.denied',
    type: 'cluster_quota',
    strength: 'specific',
    any: [
      'exceeded quota:',
      'insufficient unused quota for',
      'insufficient quota for',
      'violates accounting/qos policy',
      'breached requested qos usage threshold',
      'MaxJobCount limit reached',
      'request > maximum capacity',
    ],
  },
  {
    id: 'cloud_quota',
    category: 'quota.denied',
    type: 'cloud_quota',
    strength: 'specific',
    any: [
      'ResourceLimitExceeded',
      'VcpuLimitExceeded',
      'the account-level service limit',
      'exceeding quota limits of',
      'results in exceeding approved * quota',
      'has a total vcpu quota of',
      'OutOfQuota',
      'gce quota exceeded',
      'GCE_QUOTA_EXCEEDED',
      'insufficient quota to satisfy the request',
      'QUOTA_EXCEEDED',
      "quota '*' exceeded",
      'you have requested more vcpu capacity than your current vcpu limit',
    ],
  },
  {
    id: 'access_denied',
    category: 'policy.denied',
    type: 'access_denied',
    strength: 'specific',
    any: [
      'AccessDeniedException',
      'AccessDenied',
      'is not authorized to perform',
      'is forbidden: user',
      'cannot access gated repo',
      'you are trying to access a gated repo',
      'GatedRepoError',
      'is restricted and you are not in the authorized list',
      'admission webhook * denied the request',
      'access denied to requested reservation',
      'model access is denied',
      'PermissionDeniedError',
      'PERMISSION_DENIED',
      'AuthorizationFailed',
      'error code: 403',
      '403 forbidden',
      '403 client error',
      'access/permission denied',
      'does not have * access to the google cloud storage object',
    ],
  },
  {
    id: 'authentication',
    category: 'policy.denied',
    type: 'authentication',
    strength: 'specific',
    any: [
      'error code: 401',
      '401 client error',
      '401 unauthorized',
      'invalid api key',
      'invalid or missing api key',
      'incorrect api key provided',
      'api key not valid',
      'the security token included in the request is',
      'unable to locate credentials',
      'authentication_error',
    ],
  },
  {
    id: 'content_policy',
    category: 'policy.denied',
    type: 'content_policy',
    strength: 'specific',
    any: [
      'content_policy_violation',
      'blocked by content filtering policy',
      'content management policy',
      'violating our usage policy',
      'ResponsibleAIPolicyViolation',
    ],
  },
]

export const TEXT_RULES: readonly TextRule[] = [...RUN_RULES, ...CLUSTER_RULES, ...HARDWARE_RULES, ...SOFTWARE_RULES]
