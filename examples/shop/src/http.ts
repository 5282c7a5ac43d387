/**
 * The shop's HTTP API. Messages are Schema classes, so they are payloads, answers and errors here too.
 */
import {
  HttpApi,
  HttpApiBuilder,
  HttpApiEndpoint,
  HttpApiError,
  HttpApiGroup,
  HttpApiSwagger,
  HttpMiddleware,
  HttpServer,
  OpenApi
} from "@effect/platform"
import { CommandBus, DeadLetter, type MessageStore, type MessagingError, QueryBus } from "@holdfast/core"
import { Effect, Layer, Schema } from "effect"
import {
  GetOrder,
  NotPayable,
  Order,
  OrderId,
  OrderNotFound,
  OutOfStock,
  PayOrder,
  PlaceOrder,
  Receipt
} from "./messages.ts"

// -----------------------------------------------------------------------------
// what is offered
// -----------------------------------------------------------------------------

export class Letter extends Schema.Class<Letter>("Letter")({
  key: Schema.String,
  handler: Schema.String,
  /** As it was sent, byte for byte: it may be one that no longer decodes. */
  message: Schema.String,
  reason: Schema.String,
  error: Schema.String,
  /** When it was tried. */
  failedAt: Schema.Array(Schema.DateFromNumber)
}) {}

const ById = Schema.Struct({ id: OrderId })

class OrdersApi extends HttpApiGroup.make("orders")
  .add(
    HttpApiEndpoint.post("place", "/orders")
      .setPayload(PlaceOrder.payload)
      .addSuccess(Schema.Struct({ orderId: OrderId }), { status: 201 })
      .addError(OutOfStock, { status: 409 })
  )
  .add(
    HttpApiEndpoint.post("pay", "/orders/:id/pay")
      .setPath(ById)
      .setHeaders(Schema.Struct({ "idempotency-key": Schema.NonEmptyString }))
      .addSuccess(Receipt)
      .addError(OrderNotFound, { status: 404 })
      .addError(NotPayable, { status: 409 })
  )
  .add(
    HttpApiEndpoint.get("get", "/orders/:id").setPath(ById).addSuccess(Order).addError(OrderNotFound, { status: 404 })
  ) {}

class DeadLettersApi extends HttpApiGroup.make("deadLetters")
  .add(HttpApiEndpoint.get("list", "/dead-letters").addSuccess(Schema.Array(Letter)))
  .add(
    HttpApiEndpoint.post("replay", "/dead-letters/replay")
      .setPayload(Schema.Struct({ keys: Schema.Array(Schema.String) }))
      .addSuccess(Schema.Struct({ replayed: Schema.Int }))
  ) {}

export class ShopApi extends HttpApi.make("shop")
  .add(OrdersApi)
  .add(DeadLettersApi)
  .addError(HttpApiError.ServiceUnavailable)
  .annotate(OpenApi.Title, "Shop")
  .annotate(OpenApi.Version, "0.1.0")
  .annotate(OpenApi.Description, "An example of Holdfast: place an order, pay it, and see what becomes of it.") {}

// -----------------------------------------------------------------------------
// how it is served
// -----------------------------------------------------------------------------

const OrdersLive = HttpApiBuilder.group(ShopApi, "orders", (handlers) =>
  handlers
    .handle("place", ({ payload }) =>
      CommandBus.send(new PlaceOrder(payload)).pipe(
        Effect.map((orderId) => ({ orderId })),
        unavailable
      )
    )
    .handle("pay", ({ headers, path }) =>
      CommandBus.send(new PayOrder({ orderId: path.id }), { idempotencyKey: headers["idempotency-key"] }).pipe(
        unavailable
      )
    )
    .handle("get", ({ path }) => QueryBus.ask(new GetOrder({ orderId: path.id })).pipe(unavailable))
)

const DeadLettersLive = HttpApiBuilder.group(ShopApi, "deadLetters", (handlers) =>
  Effect.gen(function* () {
    const deadLetters = yield* DeadLetter.DeadLetter
    return handlers
      .handle("list", () =>
        deadLetters.list().pipe(
          Effect.map((rows) => rows.map(toLetter)),
          unavailable
        )
      )
      .handle("replay", ({ payload }) =>
        deadLetters.replay(payload.keys).pipe(
          Effect.map((replayed) => ({ replayed })),
          unavailable
        )
      )
  })
)

/** The API, its description at /openapi.json and a page to try it at /docs; on the `HttpServer` of your choice. */
export const HttpLive = HttpApiBuilder.serve(HttpMiddleware.logger).pipe(
  HttpServer.withLogAddress,
  Layer.provide([HttpApiSwagger.layer({ path: "/docs" }), HttpApiBuilder.middlewareOpenApi()]),
  Layer.provide(HttpApiBuilder.api(ShopApi)),
  Layer.provide([OrdersLive, DeadLettersLive])
)

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

/** Messaging itself failed: nothing the customer did, and trying again may help. */
const unavailable = <A, E, R>(effect: Effect.Effect<A, E | MessagingError.MessagingError, R>) =>
  effect.pipe(
    Effect.tapErrorTag("MessagingError", (error) => Effect.logError("messaging failed", error)),
    Effect.catchTag("MessagingError", () => new HttpApiError.ServiceUnavailable())
  )

const toLetter = ({ envelope, error, key, reason }: MessageStore.DeadLetterRow) =>
  new Letter({
    key,
    handler: envelope.endpoint,
    message: envelope.payload,
    reason,
    error,
    failedAt: envelope.failures.map(({ at }) => new Date(at))
  })
