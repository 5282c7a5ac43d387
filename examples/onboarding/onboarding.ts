/**
 * Onboarding as an orchestrator: identify the applicant, ask the credit bureau about a business, open the account.
 */
import { Channel, Handler, Message, Orchestrator } from "@holdfast/core"
import { Effect, Layer, Schedule, Schema } from "effect"
import { Account, Accounts, Applicant, CreditBureau, CreditRefused } from "./customers.ts"
import { Tenancy, Tenant } from "./tenancy.ts"

/** Carries the steps that wait for others. Its retries: after 1, 2 and 4 seconds. */
export class Checks extends Channel.Tag<Checks>()("onboarding/Checks", {
  retry: Schedule.exponential("1 second").pipe(Schedule.intersect(Schedule.recurs(3)))
}) {}

// -----------------------------------------------------------------------------
// the steps
// -----------------------------------------------------------------------------

export class NameMissing extends Schema.TaggedError<NameMissing>()("NameMissing", {}) {}

/** Runs while the starter waits. */
const identify = Orchestrator.step("identify", {
  input: Applicant,
  output: Applicant,
  error: NameMissing,
  run: (applicant) => (applicant.name === "" ? new NameMissing() : Effect.succeed(applicant))
})

/** Runs in a worker. `BureauAway` is tried again, `CreditRefused` is declared: an answer, and the end. */
const checkCredit = Orchestrator.step("checkCredit", {
  input: Applicant,
  output: Applicant,
  error: CreditRefused,
  run: Effect.fn("checkCredit")(function* (applicant) {
    const bureau = yield* CreditBureau
    const most = yield* bureau.limitOf(applicant.name)
    if (applicant.limit > most) return yield* new CreditRefused({ most })
    return applicant
  })
}).pipe(Handler.asynchronous(Checks))

/** Runs where the step before it ran. */
const openAccount = Orchestrator.step("openAccount", {
  input: Applicant,
  output: Account,
  run: (applicant) => Effect.flatMap(Accounts, (accounts) => accounts.open(applicant))
})

export const onboard = Orchestrator.make("Onboard", { input: Applicant }).pipe(
  Orchestrator.andThen(identify),
  Orchestrator.plan([checkCredit], ({ kind }) => Effect.succeed(kind === "Business" ? ["checkCredit"] : [])),
  Orchestrator.andThen(openAccount),
  Handler.intercept(Tenancy)
)

// -----------------------------------------------------------------------------
// applications that come as messages
// -----------------------------------------------------------------------------

/** What the first release sent is read as well: it knew companies and no limits. */
const ApplyV1 = Schema.Struct({ id: Schema.String, name: Schema.String, company: Schema.Boolean })

export class Apply extends Message.Command<Apply>()("Apply", {
  version: 2,
  payload: Applicant.fields,
  upcasters: {
    1: Message.upcaster(ApplyV1, ({ company, id, name }) => ({
      id,
      name,
      kind: company ? "Business" : "Person",
      limit: 500
    }))
  }
}) {}

export class Applications extends Channel.Tag<Applications>()("onboarding/Applications", { messages: [Apply] }) {}

/** However often one applies: the instance has the applicant's id, so there is one. */
export const begin = Effect.fn("begin")(function* (tenant: string, applicant: Applicant) {
  return yield* Orchestrator.start(onboard, applicant, { id: `${tenant}/${applicant.id}`, headers: { tenant } })
})

const apply = Handler.command(Apply, (applicant) => Effect.flatMap(Tenant, (tenant) => begin(tenant, applicant))).pipe(
  Handler.intercept(Tenancy),
  Handler.asynchronous(Applications)
)

export const OnboardingLive = Handler.layer(onboard, apply).pipe(
  Layer.provide(Tenancy.layer),
  Layer.provideMerge(Layer.merge(CreditBureau.layerMemory, Accounts.layerMemory))
)
