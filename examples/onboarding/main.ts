/**
 * A morning of onboarding: persons and businesses apply, the credit bureau is away for a while, somebody applies twice,
 * and a process of the first release is still there. Run it twice: the second time it starts nothing, and tells the same.
 *
 *     npm start -w examples/onboarding
 */
import { pathToFileURL } from "node:url"
import { Consumer, Journal, MessageBus, Orchestrator } from "@holdfast/core"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { PgChannel, PgMessaging } from "@holdfast/postgres"
import { Console, Effect, Layer, Logger, LogLevel, Option, Schedule } from "effect"
import { type Applicant, CreditBureau } from "./customers.ts"
import { applyWithFirstRelease } from "./firstRelease.ts"
import { Applications, begin, Checks, OnboardingLive, onboard } from "./onboarding.ts"

/** The story is told by its own lines: leave this out to see the log. */
const quiet = Logger.minimumLogLevel(LogLevel.None)

/** Workers and starters in one process, on the embedded PostgreSQL or on that of `DATABASE_URL`. */
const Live = Layer.merge(Consumer.layer(Applications), Consumer.layer(Checks)).pipe(
  Layer.provideMerge(OnboardingLive),
  Layer.provideMerge(MessageBus.layer),
  Layer.provideMerge(Layer.merge(PgChannel.layer(Applications), PgChannel.layer(Checks))),
  Layer.provideMerge(PgMessaging.layerWith({ migrate: true })),
  Layer.provide(EmbeddedPostgres.layer),
  Layer.provideMerge(quiet)
)

const ada: Applicant = { id: "ada", name: "Ada", kind: "Person", limit: 500 }
const initech: Applicant = { id: "initech", name: "Initech", kind: "Business", limit: 50_000 }
const hooli: Applicant = { id: "hooli", name: "Hooli", kind: "Business", limit: 9_000_000 }

/** What the applicant is told: an account, a refusal, or to come back. */
const answerTo = (id: string) =>
  Orchestrator.result(onboard, id, { timeout: "20 seconds" }).pipe(
    Effect.map(({ limit, name, tenant }) => `${name} is a customer of ${tenant}, with a limit of ${limit}`),
    Effect.catchTags({
      CreditRefused: ({ most }) => Effect.succeed(`${id} may have ${most} at most`),
      NameMissing: () => Effect.succeed(`${id} has no name`),
      TimeoutException: () => Effect.succeed(`${id} will hear from us`)
    })
  )

const applyFor = Effect.fn("applyFor")(function* (applicant: Applicant) {
  const id = yield* begin("acme", applicant)
  yield* Console.log(yield* answerTo(id))
})

/** An application that came as a message starts when a worker gets to it. */
const started = (id: string) =>
  Effect.repeat(Orchestrator.get(onboard, id), { until: Option.isSome, schedule: Schedule.spaced("50 millis") })

const story = Effect.gen(function* () {
  yield* applyFor(ada) // at once: no step of hers needs a worker

  yield* (yield* CreditBureau).failNext(2)
  yield* applyFor(initech) // asked again after 1 and 2 seconds
  yield* applyFor(hooli) // refused, with the error that the step declares
  yield* applyFor({ ...ada, limit: 1_000_000 }) // too late: she is a customer already

  const nobody = yield* Effect.flip(Orchestrator.start(onboard, ada))
  yield* Console.log(nobody.message)

  yield* applyWithFirstRelease("acme", { id: "bob", name: "Bob", company: false })
  yield* started("acme/bob")
  yield* Console.log(yield* answerTo("acme/bob"))

  const { done } = yield* Effect.flatten(Orchestrator.get(onboard, "acme/initech"))
  yield* Console.log(`what was done for Initech: ${done.join(", ")}`)

  // what goes wrong is in the journal, unless a channel's policy says otherwise
  const journal = yield* Journal.Journal
  const { rows } = yield* journal.search({ endpoint: "Onboard/checkCredit", order: "OldestFirst" })
  const meanwhile = rows.map(({ attempt, event }) => `${event} ${attempt}`).join(", ")
  yield* Console.log(`and what went wrong on the way: ${meanwhile}`)
})

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await Effect.runPromise(Effect.provide(story, Live))
}
