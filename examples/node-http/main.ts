/**
 * Holdfast behind plain `node:http`: no framework of Effect's. The server turns requests into commands; what
 * a command declares becomes an answer, what failed underneath a 503.
 */
import { createServer, type IncomingMessage, type Server } from "node:http"
import { pathToFileURL } from "node:url"
import { Channel, CommandBus, Consumer, EventBus, Handler, Message, MessageBus } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Console, Effect, Layer, ManagedRuntime, Schedule, Schema } from "effect"

export class AddressRefused extends Schema.TaggedError<AddressRefused>()("AddressRefused", { email: Schema.String }) {}

export class SignUp extends Message.Command<SignUp>()("SignUp", {
  payload: { email: Schema.String },
  error: AddressRefused
}) {}
export class SignedUp extends Message.Event<SignedUp>()("SignedUp", { payload: { email: Schema.String } }) {}
export class Mails extends Channel.Tag<Mails>()("signup/Mails", { messages: [SignedUp] }) {}

const signUp = Handler.command(
  SignUp,
  Effect.fn("signUp")(function* ({ email }) {
    if (!email.includes("@")) return yield* new AddressRefused({ email })
    yield* EventBus.publish(new SignedUp({ email }))
  })
)

const welcome = Handler.event(SignedUp, {
  name: "Welcome",
  handle: ({ email }) => Console.log(`welcome, ${email}`)
}).pipe(Handler.asynchronous(Mails), Handler.retry(Schedule.exponential("1 second").pipe(Schedule.upTo("1 hour"))))

export const Handlers = Handler.layer(signUp, welcome)

/** `POST /signups` with `{ "email": … }`, repeatable with an `Idempotency-Key` header. */
const signUpOver = (request: IncomingMessage) => {
  const key = request.headers["idempotency-key"]
  return body(request).pipe(
    Effect.flatMap((payload) =>
      CommandBus.send(new SignUp(payload), { idempotencyKey: typeof key === "string" ? key : undefined })
    ),
    Effect.as({ status: 202, body: { status: "accepted" } as unknown }),
    Effect.catchTags({
      AddressRefused: ({ _tag, email }) => Effect.succeed({ status: 422, body: { error: _tag, email } }),
      ParseError: ({ message }) => Effect.succeed({ status: 400, body: { error: message } }),
      MessagingError: ({ reason }) => Effect.succeed({ status: 503, body: { error: reason } })
    }),
    Effect.catchAllCause((cause) =>
      Effect.as(Effect.logError("A request failed", cause), { status: 500, body: { error: "InternalError" } })
    )
  )
}

type Runtime = ManagedRuntime.ManagedRuntime<CommandBus.CommandBus | Handler.Handles<"SignUp">, unknown>

export const makeServer = (runtime: Runtime): Server =>
  createServer(async (request, response) => {
    const known = request.method === "POST" && request.url === "/signups"
    const { body, status } = known
      ? await runtime.runPromise(signUpOver(request))
      : { status: 404, body: { error: "NotFound" } }
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
  })

const body = (request: IncomingMessage) =>
  Effect.promise(async () => {
    let text = ""
    for await (const chunk of request) text += chunk
    return text
  }).pipe(Effect.flatMap(Schema.decodeUnknown(Schema.parseJson(SignUp.payload))))

const Live = Consumer.layer(Mails).pipe(
  Layer.provideMerge(Handlers),
  Layer.provideMerge(MessageBus.layer),
  Layer.provide(PgChannel.layer(Mails)),
  Layer.provide(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(EmbeddedPostgres.layer)
)

const main = async () => {
  const runtime = ManagedRuntime.make(Live)
  await runtime.runtime() // fails here, with a sentence, if anything is missing
  const server = makeServer(runtime).listen(3000, "127.0.0.1")
  // no new requests, then no new messages, then the handlers that run may finish
  process.once("SIGTERM", () => server.close(() => void runtime.dispose()))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main()
