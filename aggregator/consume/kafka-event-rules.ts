/**
 * What holds for events that other programs put on Kafka's topics.
 *
 * Who may write there is decided by the broker (its logins and ACLs), not here: whoever may, is trusted with `tenant_id` and with the
 * headers of our own collectors. An event that names no tenant is of the default one. What a collector has checked is only looked at for
 * what the store relies on: it is not coerced again, and keeps its id.
 */
import { checkEvent } from '../../proto/events/check.ts'
import type { ReceivedItem } from '../../proto/events/event.ts'
import { keptRaw, PersonalPolicy } from '../../proto/events/personal.ts'
import type { Checked, EventRules } from '../../proto/kafka/event-message.ts'
import { TENANT_FORM } from '../../proto/runtime/tenants.ts'
import { itemProblem } from '../events/event-checks.ts'

/** As collectors have it at first: clocks differ by so much at most, ms. */
const FUTURE_MAX_MS = 600_000

export interface KafkaEventRulesOptions {
  /** Of events that name none. */
  readonly tenant: string
  /** What is kept of personal data, see personal.ts. */
  readonly personal: readonly string[]
  /** Wall clock, ms. */
  readonly now: () => number
}

export class KafkaEventRules implements EventRules {
  readonly #options: KafkaEventRulesOptions
  readonly #personal: PersonalPolicy

  constructor(options: KafkaEventRulesOptions) {
    this.#options = options
    this.#personal = new PersonalPolicy(options.personal)
  }

  get tenant(): string {
    return this.#options.tenant
  }

  check(value: unknown, time: number): Checked {
    const checked = checkEvent(value, {
      tenant: this.tenant,
      choose: tenantNamed,
      fallbackTime: time, // of the message: the same each time it comes, so that a derived id is
      newest: this.#options.now() + FUTURE_MAX_MS,
      personal: this.#personal,
    })
    if ('event' in checked) return checked
    const { faults } = checked
    const reason = faults.map(({ field, message }) => (field === '' ? message : `${field}: ${message}`)).join('; ')
    return { code: faults[0]!.code, reason, tenant: this.#tenantOf(value) }
  }

  problem(item: ReceivedItem): string | undefined {
    return itemProblem(item)
  }

  kept(value: unknown, bytes: Buffer, tenant: string): Buffer {
    return keptRaw(value, bytes, this.#personal.of(tenant))
  }

  /** Whose a message is that is no event, as far as it can be told. */
  #tenantOf(value: unknown): string {
    const named = typeof value === 'object' && value !== null ? (value as { tenant_id?: unknown }).tenant_id : undefined
    return typeof named === 'string' && TENANT_FORM[0].test(named) ? named : this.tenant
  }
}

function tenantNamed(asked: string): { tenant: string } | { reason: string } {
  const [form, expected] = TENANT_FORM
  return form.test(asked) ? { tenant: asked } : { reason: expected }
}
