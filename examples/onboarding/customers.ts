/**
 * What the onboarding is about: applicants, accounts, and a credit bureau that is not ours and may be away.
 */
import { Context, Effect, Layer, Ref, Schema } from "effect"
import { Tenant } from "./tenancy.ts"

export const Applicant = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  kind: Schema.Literal("Person", "Business"),
  limit: Schema.Number
})
export type Applicant = typeof Applicant.Type

export const Account = Schema.Struct({ tenant: Schema.String, name: Schema.String, limit: Schema.Number })
export type Account = typeof Account.Type

/** An answer, which the applicant gets. */
export class CreditRefused extends Schema.TaggedError<CreditRefused>()("CreditRefused", { most: Schema.Number }) {}

/** No answer: one asks again later. */
export class BureauAway extends Schema.TaggedError<BureauAway>()("BureauAway", {}) {}

/** How much a business may owe. This one can be told to be away for so many calls. */
export class CreditBureau extends Context.Tag("onboarding/CreditBureau")<
  CreditBureau,
  {
    readonly limitOf: (name: string) => Effect.Effect<number, BureauAway>
    readonly failNext: (calls: number) => Effect.Effect<void>
  }
>() {
  static readonly layerMemory = Layer.effect(
    CreditBureau,
    Effect.map(Ref.make(0), (failures) => ({
      limitOf: (name) =>
        Effect.flatMap(
          Ref.getAndUpdate(failures, (left) => Math.max(0, left - 1)),
          (left) => (left > 0 ? new BureauAway() : Effect.succeed(name.length * 10_000))
        ),
      failNext: (calls) => Ref.set(failures, calls)
    }))
  )
}

/** The accounts: in memory here, your tables in life, which would commit together with the step that writes them. */
export class Accounts extends Context.Tag("onboarding/Accounts")<
  Accounts,
  {
    readonly open: (applicant: Applicant) => Effect.Effect<Account, never, Tenant>
    readonly all: Effect.Effect<ReadonlyArray<Account>>
  }
>() {
  static readonly layerMemory = Layer.effect(
    Accounts,
    Effect.map(Ref.make<ReadonlyArray<Account>>([]), (accounts) => ({
      open: ({ limit, name }) =>
        Effect.flatMap(Tenant, (tenant) => {
          const account = { tenant, name, limit }
          return Effect.as(
            Ref.update(accounts, (all) => [...all, account]),
            account
          )
        }),
      all: Ref.get(accounts)
    }))
  )
}
