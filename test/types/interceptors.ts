/**
 * Interceptors of the shop, for the type tests.
 */
import { Interceptor, MessagingError, Saga } from "@holdfast/core"
import { Context, Effect, Schema } from "effect"
import { OrderPlaced } from "./fixtures.ts"

export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {}
export class Denied extends Schema.TaggedError<Denied>()("Denied", {}) {}
export class TooSlow extends Schema.TaggedError<TooSlow>()("TooSlow", {}) {}
export class Busy extends Schema.TaggedError<Busy>()("Busy", { why: Schema.String }) {}

export class CurrentUser extends Context.Tag("shop/CurrentUser")<CurrentUser, { readonly id: string }>() {}

export class Auth extends Interceptor.Tag<Auth>()("shop/Auth", { provides: CurrentUser, failure: Unauthorized }) {}
export class Users extends Interceptor.Tag<Users>()("shop/Users", { provides: CurrentUser }) {}
export class Guard extends Interceptor.Tag<Guard>()("shop/Guard", { failure: Denied }) {}
export class Audit extends Interceptor.Tag<Audit>()("shop/Audit") {}
export class Gate extends Interceptor.Tag<Gate>()("shop/Gate", { failure: MessagingError.MessagingError }) {}

export const fulfilment = Saga.make("Fulfilment", { state: Schema.Number }).pipe(
  Saga.startOn(OrderPlaced, { id: (_) => _.orderId, handle: () => Effect.succeed(1) }),
  Saga.onTimeout("late", { handle: () => Effect.succeed(2) })
)
