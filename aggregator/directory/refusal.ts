/** Why a request of a directory is not done, as it is answered. */
import type { ApiCode } from '../../proto/runtime/http-answers.ts'

/** A field at fault; of a CSV file with its line, the first one being 1. */
export interface Fault {
  readonly line?: number
  readonly field: string
  readonly message: string
}

export class Refusal extends Error {
  readonly status: number
  readonly code: ApiCode
  readonly faults: readonly Fault[]
  readonly headers: Readonly<Record<string, string>>

  constructor(
    status: number,
    code: ApiCode,
    message: string,
    more: { readonly faults?: readonly Fault[]; readonly headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.code = code
    this.faults = more.faults ?? []
    this.headers = more.headers ?? {}
  }
}

const LISTED_MAX = 1000

/** 400 with every field at fault, up to a bound that the detail says. */
export function faulty(faults: readonly Fault[], status: 400 | 409 = 400): Refusal {
  const listed = faults.slice(0, LISTED_MAX)
  const first = listed.slice(0, 3).map(sentence).join('; ')
  const more = faults.length > 3 ? `; and ${faults.length - 3} more` : ''
  return new Refusal(status, status === 400 ? 'BAD_REQUEST' : 'CONFLICT', `${first}${more}`, { faults: listed })
}

function sentence({ line, field, message }: Fault): string {
  const place = [...(line === undefined ? [] : [`line ${line}`]), ...(field === '' ? [] : [field])].join(', ')
  return place === '' ? message : `${place}: ${message}`
}
