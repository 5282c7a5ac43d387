/**
 * Whose customers these are: a header of every message, and a service of every handler that asks for it.
 */
import { Headers, Interceptor, MessagingError } from "@holdfast/core"
import { Context, Effect, Layer } from "effect"

export class Tenant extends Context.Tag("onboarding/Tenant")<Tenant, string>() {}

export class Tenancy extends Interceptor.Tag<Tenancy>()("onboarding/Tenancy", {
  provides: Tenant,
  failure: MessagingError.MessagingError
}) {
  static readonly layer = Layer.succeed(
    Tenancy,
    Interceptor.before(({ envelope, handler }) => {
      const tenant = envelope.headers[Headers.tenant]
      return tenant === undefined
        ? new MessagingError.MessagingError({ reason: "Rejected", detail: `${handler} was sent to without a tenant` })
        : Effect.succeed(tenant)
    })
  )
}
