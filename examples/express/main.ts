/**
 * Holdfast in an Express application: routes stay Express's, and one function turns a command into an answer.
 */
import { pathToFileURL } from "node:url"
import { Channel, CommandBus, Consumer, EventBus, Handler, Message, MessageBus, QueryBus, Saga } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Cause, Effect, Exit, Layer, ManagedRuntime, Option, Schema } from "effect"
import express, { type Express, type Response } from "express"

export class NoSuchRequest extends Schema.TaggedError<NoSuchRequest>()("NoSuchRequest", { id: Schema.String }) {}

export class RequestLeave extends Message.Command<RequestLeave>()("RequestLeave", {
  payload: { id: Schema.String, days: Schema.Positive }
}) {}
export class ApproveLeave extends Message.Command<ApproveLeave>()("ApproveLeave", { payload: { id: Schema.String } }) {}
export class GetLeave extends Message.Query<GetLeave>()("GetLeave", {
  payload: { id: Schema.String },
  success: Schema.String,
  error: NoSuchRequest
}) {}
export class LeaveRequested extends Message.Event<LeaveRequested>()("LeaveRequested", {
  payload: { id: Schema.String }
}) {}
export class LeaveApproved extends Message.Event<LeaveApproved>()("LeaveApproved", {
  payload: { id: Schema.String }
}) {}

export class Leaves extends Channel.Tag<Leaves>()("leave/Leaves", { messages: [LeaveRequested, LeaveApproved] }) {}

/** A person has three days to approve: a human step is a saga with a timeout, and no special machinery. */
const leave = Saga.make("Leave", { state: Schema.Literal("waiting", "approved", "lapsed") }).pipe(
  Saga.startOn(LeaveRequested, {
    id: ({ id }) => id,
    handle: () => Effect.as(Saga.arm("approval", "3 days"), "waiting" as const)
  }),
  Saga.on(LeaveApproved, { id: ({ id }) => id, handle: () => Effect.succeed(Saga.complete("approved" as const)) }),
  Saga.onTimeout("approval", { handle: () => Effect.succeed(Saga.complete("lapsed" as const)) })
)

export const Handlers = Handler.layer(
  Handler.command(RequestLeave, ({ id }) => EventBus.publish(new LeaveRequested({ id }))),
  Handler.command(ApproveLeave, ({ id }) => EventBus.publish(new LeaveApproved({ id }))),
  Handler.query(GetLeave, ({ id }) =>
    Effect.flatMap(
      Saga.get(leave, id),
      Option.match({
        onNone: () => Effect.fail(new NoSuchRequest({ id })),
        onSome: ({ state }) => Effect.succeed(state)
      })
    )
  ),
  leave.pipe(Handler.asynchronous(Leaves))
)

type Sends =
  | CommandBus.CommandBus
  | QueryBus.QueryBus
  | Handler.Handles<"RequestLeave">
  | Handler.Handles<"ApproveLeave">
  | Handler.Handles<"GetLeave">

export const makeApp = (runtime: ManagedRuntime.ManagedRuntime<Sends, unknown>): Express => {
  const run = async <E>(response: Response, effect: Effect.Effect<unknown, E, Sends>) => {
    const exit = await runtime.runPromiseExit(effect)
    if (Exit.isSuccess(exit)) return response.json({ answer: exit.value ?? null })
    const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
    const tag = typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "InternalError"
    return response.status(statuses[tag] ?? 500).json({ error: tag })
  }
  const decode = Schema.decodeUnknown(RequestLeave.payload)
  const app = express().use(express.json())
  app.post("/leaves", (request, response) =>
    run(
      response,
      Effect.flatMap(decode(request.body), (payload) => CommandBus.send(new RequestLeave(payload)))
    )
  )
  app.post("/leaves/:id/approval", (request, response) =>
    run(response, CommandBus.send(new ApproveLeave({ id: request.params.id })))
  )
  app.get("/leaves/:id", (request, response) => run(response, QueryBus.ask(new GetLeave({ id: request.params.id }))))
  return app
}

const statuses: Readonly<Record<string, number>> = { ParseError: 400, NoSuchRequest: 404, MessagingError: 503 }

const Live = Consumer.layer(Leaves).pipe(
  Layer.provideMerge(Handlers),
  Layer.provideMerge(MessageBus.layer),
  Layer.provide(PgChannel.layer(Leaves)),
  Layer.provide(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(EmbeddedPostgres.layer)
)

const main = async () => {
  const runtime = ManagedRuntime.make(Live)
  await runtime.runtime()
  const server = makeApp(runtime).listen(3000, "127.0.0.1")
  process.once("SIGTERM", () => server.close(() => void runtime.dispose()))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main()
