/**
 * What the compiler infers of sagas, pinned: each line fails to compile on a drift. Compiled, never run.
 */
import type { CommandBus, HandlerRegistry, Headers, MessageScheduler, MessagingError } from "@holdfast/core"
import { Handler, Message, Saga, type SagaStore } from "@holdfast/core"
import { DateTime, Effect, type Layer, Option, Schedule, Schema } from "effect"
import { equal, ok } from "./equal.ts"
import {
  counting,
  Fulfilment,
  fulfilment,
  fulfilOrders,
  type MailError,
  type Mailer,
  OrderPlaced,
  OrdersChannel,
  orderId,
  PaymentReceived,
  ShipOrder
} from "./fixtures.ts"

type State = typeof Fulfilment.Type

const empty = Saga.make("Fulfilment", { state: Fulfilment })

ok(equal<Saga.Saga<"Fulfilment", typeof Fulfilment, never, never, SagaStore.SagaStore>>()(empty))

// A state that needs services to be stored.
declare const Secret: Schema.Schema<string, string, Mailer>
ok(
  equal<Saga.Saga<"Secret", typeof Secret, never, never, SagaStore.SagaStore | Mailer>>()(
    Saga.make("Secret", { state: Secret })
  )
)

// -----------------------------------------------------------------------------
// transitions
// -----------------------------------------------------------------------------

// Each adds its message, its errors and its needs; what transitions are given, the saga does not require.
ok(
  equal<
    Saga.Saga<
      "Counting",
      typeof Schema.Number,
      typeof OrderPlaced | typeof PaymentReceived,
      MessagingError.MessagingError,
      SagaStore.SagaStore
    >
  >()(counting)
)
ok(
  equal<
    Saga.Saga<
      "Fulfilment",
      typeof Fulfilment,
      typeof OrderPlaced | typeof PaymentReceived,
      MailError | MessagingError.MessagingError,
      | CommandBus.CommandBus
      | Handler.Handles<"ShipOrder">
      | Mailer
      | MessageScheduler.MessageScheduler
      | SagaStore.SagaStore,
      "Timed"
    >
  >()(fulfilment)
)

// State, message and headers are typed in data-last position: as arrows ...
export const arrows = empty.pipe(
  Saga.startOn(OrderPlaced, {
    id: (message, headers) => {
      ok(equal<OrderPlaced>()(message))
      ok(equal<Headers.Headers>()(headers))
      return message.orderId
    },
    handle: (message) => {
      ok(equal<OrderPlaced>()(message))
      return Effect.succeed({ orderId: message.orderId, total: message.total, paid: false })
    }
  }),
  Saga.on(PaymentReceived, {
    id: (message, headers) => {
      ok(equal<PaymentReceived>()(message))
      return headers.tenant === undefined ? Option.none() : Option.some(headers.tenant)
    },
    handle: (state, message) => {
      ok(equal<State>()(state))
      ok(equal<PaymentReceived>()(message))
      return Effect.succeed(state.paid ? Saga.complete(state) : { ...state, paid: true })
    }
  }),
  Saga.onTimeout("payment", {
    handle: (state) => {
      ok(equal<State>()(state))
      return Effect.succeed(Saga.complete(state))
    }
  })
)

// ... and as generators of `Effect.fn`.
export const generators = empty.pipe(
  Saga.startOn(OrderPlaced, {
    id: (message) => message.orderId,
    handle: Effect.fn("start")(function* (message) {
      ok(equal<OrderPlaced>()(message))
      yield* Saga.arm("payment", DateTime.unsafeMake(0))
      return { orderId: message.orderId, total: message.total, paid: false }
    })
  }),
  Saga.on(PaymentReceived, {
    id: (message) => message.orderId,
    handle: Effect.fn("pay")(function* (state, message) {
      ok(equal<State>()(state))
      ok(equal<PaymentReceived>()(message))
      yield* Saga.arm("payment", message.remindAt)
      if (!state.paid) return { ...state, paid: true }
      yield* Saga.cancel("payment")
      return Saga.complete(state)
    })
  }),
  Saga.onTimeout("payment", {
    handle: Effect.fn("remind")(function* (state) {
      ok(equal<State>()(state))
      yield* Saga.arm("payment", "24 hours")
      return state
    })
  })
)
ok(equal<typeof arrows>()(generators))
ok(
  equal<
    Saga.Saga<
      "Fulfilment",
      typeof Fulfilment,
      typeof OrderPlaced | typeof PaymentReceived,
      MessagingError.MessagingError,
      MessageScheduler.MessageScheduler | SagaStore.SagaStore,
      "Timed"
    >
  >()(arrows)
)

// Data-first is data-last.
const started = Saga.startOn(empty, OrderPlaced, {
  id: (message) => message.orderId,
  handle: (message) => {
    ok(equal<OrderPlaced>()(message))
    return Effect.succeed({ orderId: message.orderId, total: message.total, paid: false })
  }
})
const moved = Saga.on(started, PaymentReceived, {
  id: (message) => message.orderId,
  handle: (state, message) => {
    ok(equal<State>()(state))
    ok(equal<PaymentReceived>()(message))
    return Effect.succeed(Saga.complete(state))
  }
})
ok(
  equal<typeof arrows>()(
    Saga.onTimeout(moved, "payment", {
      handle: (state) => {
        ok(equal<State>()(state))
        return Effect.succeed(state)
      }
    })
  )
)

// A command that answers nothing may move a saga; the saga then is its handler.
const reserving = Saga.make("Reserving", { state: Schema.Number }).pipe(
  Saga.startOn(ShipOrder, { id: (message) => message.orderId, handle: () => Effect.succeed(1) })
)
ok(
  equal<Layer.Layer<Handler.Handles<"ShipOrder">, never, HandlerRegistry.HandlerRegistry | SagaStore.SagaStore>>()(
    Handler.layer(reserving)
  )
)

// So may one that declares an error, which the saga then may fail with.
class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}
class Reserve extends Message.Command<Reserve>()("Reserve", { payload: { id: Schema.String }, error: Refused }) {}
ok(
  equal<Layer.Layer<Handler.Handles<"Reserve">, never, HandlerRegistry.HandlerRegistry | SagaStore.SagaStore>>()(
    Handler.layer(
      Saga.make("Reserving", { state: Schema.Number }).pipe(
        Saga.startOn(Reserve, { id: (message) => message.id, handle: () => new Refused() })
      )
    )
  )
)

ok(equal<Saga.Complete<State>>()(Saga.complete({ orderId, total: 1, paid: true } as State)))
ok(equal<Effect.Effect<void, never, Saga.CurrentSaga>>()(Saga.arm("payment", "24 hours")))
ok(equal<Effect.Effect<void, never, Saga.CurrentSaga>>()(Saga.cancel("payment")))

// -----------------------------------------------------------------------------
// a saga is a handler
// -----------------------------------------------------------------------------

// Timed becomes asynchronous with a channel.
ok(
  equal<
    Handler.Handler<
      typeof OrderPlaced | typeof PaymentReceived,
      MailError | MessagingError.MessagingError,
      | CommandBus.CommandBus
      | Handler.Handles<"ShipOrder">
      | Mailer
      | MessageScheduler.MessageScheduler
      | SagaStore.SagaStore
      | OrdersChannel,
      "Asynchronous"
    >
  >()(fulfilment.pipe(Handler.asynchronous(OrdersChannel)))
)
ok(equal<typeof fulfilOrders>()(fulfilment.pipe(Handler.asynchronous(OrdersChannel))))
ok(equal<typeof fulfilOrders>()(Handler.asynchronous(fulfilment, OrdersChannel)))
ok(equal<typeof fulfilOrders>()(fulfilOrders.pipe(Handler.delay("1 second"))))
ok(equal<"Timed">()(fulfilment.pipe(Handler.retry(Schedule.recurs(1))).mode))

ok(
  equal<
    Layer.Layer<
      Handler.HandledOn<OrdersChannel>,
      never,
      | HandlerRegistry.HandlerRegistry
      | CommandBus.CommandBus
      | Handler.Handles<"ShipOrder">
      | Mailer
      | MessageScheduler.MessageScheduler
      | SagaStore.SagaStore
      | OrdersChannel
    >
  >()(Handler.layer(fulfilOrders))
)

// Without timeouts it may do without a channel.
ok(equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | SagaStore.SagaStore>>()(Handler.layer(counting)))

// -----------------------------------------------------------------------------
// reading
// -----------------------------------------------------------------------------

ok(
  equal<Effect.Effect<Option.Option<Saga.Instance<State>>, MessagingError.MessagingError, SagaStore.SagaStore>>()(
    Saga.get(fulfilment, orderId)
  )
)
ok(
  equal<Effect.Effect<Option.Option<Saga.Instance<number>>, MessagingError.MessagingError, SagaStore.SagaStore>>()(
    Saga.get(counting, orderId)
  )
)
