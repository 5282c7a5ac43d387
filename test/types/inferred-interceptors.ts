/**
 * What the compiler infers of interceptors, pinned. Compiled, never run.
 */
import type { HandlerRegistry, MessagingError } from "@holdfast/core"
import { Handler, Interceptor, Message } from "@holdfast/core"
import { Cause, Effect, Exit, Layer, Predicate, pipe, Schedule } from "effect"
import { equal, ok } from "./equal.ts"
import {
  type MailError,
  type Mailer,
  mail,
  OrderPlaced,
  Orders,
  OrdersChannel,
  orderId,
  PlaceOrder,
  type ShipOrder,
  ship,
  shipOrder
} from "./fixtures.ts"
import { Audit, Auth, Busy, CurrentUser, fulfilment, Gate, TooSlow, Unauthorized } from "./interceptors.ts"

// -----------------------------------------------------------------------------
// tags and values
// -----------------------------------------------------------------------------

type User = { readonly id: string }

ok(equal<Interceptor.Interceptor<User, Unauthorized>>()({} as typeof Auth.Service))
ok(equal<Interceptor.Interceptor<void, never>>()({} as typeof Audit.Service))
ok(equal<Interceptor.Interceptor<void, MessagingError.MessagingError>>()({} as typeof Gate.Service))
ok(equal<typeof CurrentUser>()(Auth.provides))
ok(equal<typeof Unauthorized>()(Auth.failure))
ok(equal<undefined>()(Audit.provides))
ok(equal<"shop/Auth">()(Auth.key))

ok(
  equal<Interceptor.Interceptor<User, Unauthorized>>()(
    Interceptor.before((interception) => {
      ok(equal<Interceptor.Interception>()(interception))
      return Effect.if(interception.kind === "Query", {
        onTrue: () => Effect.succeed<User>({ id: interception.envelope.id }),
        onFalse: () => new Unauthorized()
      })
    })
  )
)
ok(
  equal<Interceptor.Interceptor<void, never>>()(
    Interceptor.after((exit, interception) => {
      ok(equal<Exit.Exit<unknown, unknown>>()(exit))
      ok(equal<Interceptor.Interception>()(interception))
      return Effect.log(Exit.isSuccess(exit))
    })
  )
)

// It may time, run again, and turn failures into its own.
ok(equal<Interceptor.Interceptor<void, never>>()(Interceptor.around((handled) => Effect.withSpan(handled, "span"))))
ok(
  equal<Interceptor.Interceptor<void, never>>()(
    Interceptor.around((handled) => Effect.retry(handled, Schedule.recurs(3)))
  )
)
ok(
  equal<Interceptor.Interceptor<void, TooSlow>>()(
    Interceptor.around((handled) =>
      Effect.timeoutFail(handled, { duration: "1 second", onTimeout: () => new TooSlow() })
    )
  )
)
ok(
  equal<Interceptor.Interceptor<void, never>>()(
    Interceptor.around((handled) =>
      Effect.catchIf(
        handled,
        (error) => error instanceof Unauthorized,
        () => handled
      )
    )
  )
)
ok(
  equal<Interceptor.Interceptor<void, Busy>>()(
    Interceptor.around((handled) => Effect.catchAllCause(handled, (cause) => new Busy({ why: Cause.pretty(cause) })))
  )
)

// A layer says what it does, with services of its own.
ok(
  equal<Layer.Layer<Auth>>()(
    Layer.succeed(
      Auth,
      Interceptor.before(() => Effect.succeed({ id: "1" }))
    )
  )
)
ok(
  equal<Layer.Layer<Auth, never, Orders>>()(
    Layer.effect(
      Auth,
      Effect.map(Orders, (orders) => Interceptor.before(() => Effect.as(orders.total(orderId), { id: "1" })))
    )
  )
)

// -----------------------------------------------------------------------------
// Handler.intercept
// -----------------------------------------------------------------------------

const greet = Handler.event(OrderPlaced, {
  name: "Greet",
  handle: () =>
    Effect.zipRight(
      Orders,
      Effect.flatMap(CurrentUser, (user) => Effect.log(user.id))
    )
})
ok(equal<Handler.Handler<typeof OrderPlaced, never, Orders | CurrentUser>>()(greet))

// What it provides leaves, it joins, its failure joins.
ok(equal<Handler.Handler<typeof OrderPlaced, Unauthorized, Orders | Auth>>()(greet.pipe(Handler.intercept(Auth))))
ok(equal<Handler.Handler<typeof OrderPlaced, MailError, Mailer | Audit>>()(mail.pipe(Handler.intercept(Audit))))
ok(
  equal<Handler.Handler<typeof OrderPlaced, Unauthorized | MessagingError.MessagingError, Orders | Auth | Gate>>()(
    greet.pipe(Handler.intercept(Auth), Handler.intercept(Gate))
  )
)

// Before and after a channel.
ok(
  equal<Handler.Handler<typeof OrderPlaced, Unauthorized, Orders | Auth | OrdersChannel, "Asynchronous">>()(
    greet.pipe(Handler.intercept(Auth), Handler.asynchronous(OrdersChannel))
  )
)
ok(
  equal<Handler.Handler<typeof OrderPlaced, Unauthorized, Orders | Auth | OrdersChannel, "Asynchronous">>()(
    greet.pipe(Handler.asynchronous(OrdersChannel), Handler.intercept(Auth))
  )
)
ok(
  equal<Handler.Handler<typeof ShipOrder, never, OrdersChannel | Audit, "Asynchronous">>()(
    shipOrder.pipe(Handler.intercept(Audit))
  )
)

// Who only sends needs no interceptor.
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | OrdersChannel>>()(
    Handler.routes(greet.pipe(Handler.intercept(Auth), Handler.asynchronous(OrdersChannel)))
  )
)

// A saga keeps its mode.
ok(equal<"Asynchronous">()(fulfilment.pipe(Handler.intercept(Audit), Handler.asynchronous(OrdersChannel)).mode))

// The schedule reads the interceptor's errors.
ok(
  equal<Handler.Handler<typeof OrderPlaced, Unauthorized, Orders | Auth>>()(
    greet.pipe(
      Handler.intercept(Auth),
      Handler.retry(Schedule.recurWhile((error: Unauthorized) => error._tag === "Unauthorized"))
    )
  )
)

// Data-first is data-last.
ok(equal<Handler.Handler<typeof OrderPlaced, Unauthorized, Orders | Auth>>()(Handler.intercept(greet, Auth)))
ok(equal<Handler.Handler<typeof ShipOrder, never, Audit>>()(Handler.intercept(ship, Audit)))

// An error that its message declares, or MessagingError, is no hindrance.
class Cancel extends Message.Command<Cancel>()("Cancel", { error: Unauthorized }) {}
ok(
  equal<Layer.Layer<Handler.Handles<"Cancel">, never, HandlerRegistry.HandlerRegistry | Auth | Gate>>()(
    Handler.layer(
      Handler.command(Cancel, () => Effect.asVoid(CurrentUser)).pipe(Handler.intercept(Auth), Handler.intercept(Gate))
    )
  )
)
ok(
  equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | Gate>>()(
    Handler.layer(Handler.event(OrderPlaced, { name: "A", handle: () => Effect.void }).pipe(Handler.intercept(Gate)))
  )
)

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

type Registered<I> = Layer.Layer<never, never, I | HandlerRegistry.HandlerRegistry>

ok(equal<Registered<Audit>>()(Interceptor.layer(Audit, { at: "Handler" })))
ok(equal<Registered<Gate>>()(Interceptor.layer(Gate, { at: "Bus", outside: [Audit, Auth] })))
ok(
  equal<Registered<Audit>>()(
    Interceptor.layer(Audit, {
      at: "Consumer",
      select: pipe(
        Interceptor.kind("Command"),
        Predicate.and(Interceptor.channel(OrdersChannel)),
        Predicate.or(Interceptor.message(PlaceOrder, OrderPlaced)),
        Predicate.and(Predicate.not(Interceptor.handler("Greet"))),
        Predicate.or(Interceptor.annotated(Orders, ({ save }) => save !== undefined)),
        Predicate.and((interception) => interception.envelope.attempt === 1)
      )
    })
  )
)
ok(
  equal<Registered<never>>()(
    Interceptor.layerSending(({ envelope }) => Effect.succeed({ tenant: envelope.id }), {
      select: Interceptor.kind("Event")
    })
  )
)
ok(
  equal<Layer.Layer<never, never, CurrentUser | HandlerRegistry.HandlerRegistry>>()(
    Interceptor.layerSending(() => Effect.as(CurrentUser, { tenant: "acme" }))
  )
)
