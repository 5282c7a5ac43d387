/**
 * Onboarding in memory, under a virtual clock: the handlers are those of main.ts, the layers below them are swapped.
 */
import { assert, describe, it } from "@effect/vitest"
import { Channel, CommandBus, DeadLetter, Journal, MessagingTest, Orchestrator } from "@holdfast/core"
import { Effect, Layer } from "effect"
import { Accounts, type Applicant, CreditBureau } from "./customers.ts"
import { applyWithFirstRelease } from "./firstRelease.ts"
import { Applications, Apply, begin, Checks, OnboardingLive, onboard } from "./onboarding.ts"

const Test = OnboardingLive.pipe(
  Layer.provideMerge(Layer.merge(Channel.layerMemory(Applications), Channel.layerMemory(Checks))),
  Layer.provideMerge(MessagingTest.layer)
)

const ada: Applicant = { id: "ada", name: "Ada", kind: "Person", limit: 500 }
const initech: Applicant = { id: "initech", name: "Initech", kind: "Business", limit: 50_000 }
const opened = Effect.flatMap(Accounts, ({ all }) => all)

describe("onboarding", () => {
  it.effect("opens the account of a person while the starter waits, without a credit check", () =>
    Effect.gen(function* () {
      const id = yield* begin("acme", ada)
      assert.deepStrictEqual(yield* Orchestrator.result(onboard, id), { tenant: "acme", name: "Ada", limit: 500 })
      assert.strictEqual(yield* MessagingTest.drain, 0)
    }).pipe(Effect.provide(Test))
  )

  it.effect("asks the credit bureau about a business, and again after 1 and 2 seconds while it is away", () =>
    Effect.gen(function* () {
      yield* (yield* CreditBureau).failNext(2)
      const id = yield* begin("acme", initech)
      yield* MessagingTest.advance("2999 millis")
      assert.deepStrictEqual(yield* opened, [])
      yield* MessagingTest.advance("1 milli")
      const { done, status } = yield* Effect.flatten(Orchestrator.get(onboard, id))
      assert.strictEqual(status, "Completed")
      assert.deepStrictEqual(done, ["identify", "checkCredit", "openAccount"])
      assert.strictEqual((yield* Orchestrator.result(onboard, id)).limit, 50_000)
      const { rows } = yield* (yield* Journal.Journal).search({ order: "OldestFirst" })
      assert.deepStrictEqual(
        rows.map(({ attempt, endpoint, event }) => `${event} ${endpoint} ${attempt}`),
        ["Failed", "Retried"]
          .map((event) => `${event} Onboard/checkCredit 1`)
          .concat(["Failed", "Retried"].map((event) => `${event} Onboard/checkCredit 2`))
      )
    }).pipe(Effect.provide(Test))
  )

  it.effect("ends with the error that a step declares: it is an answer, so nothing is tried again", () =>
    Effect.gen(function* () {
      const tooMuch = yield* begin("acme", { ...initech, limit: 1_000_000 })
      assert.strictEqual(yield* MessagingTest.drain, 1)
      const refused = yield* Effect.flip(Orchestrator.result(onboard, tooMuch))
      assert.deepInclude(refused, { _tag: "CreditRefused", most: 70_000 })
      const nameless = yield* begin("acme", { ...ada, name: "" })
      assert.strictEqual((yield* Effect.flip(Orchestrator.result(onboard, nameless)))._tag, "NameMissing")
      assert.strictEqual(yield* (yield* DeadLetter.DeadLetter).count(), 0)
      assert.deepStrictEqual(yield* opened, [])
    }).pipe(Effect.provide(Test))
  )

  it.effect("waits as a dead letter when the retries have ended, and goes on from there once it is replayed", () =>
    Effect.gen(function* () {
      const deadLetters = yield* DeadLetter.DeadLetter
      yield* (yield* CreditBureau).failNext(4)
      const id = yield* begin("acme", initech)
      yield* MessagingTest.advance("1 hour")
      const [letter] = yield* deadLetters.list({ endpoint: "Onboard/checkCredit" })
      assert.deepInclude(letter, { reason: "Exhausted" })
      assert.strictEqual(letter?.envelope.failures.length, 4)
      const waiting = yield* Effect.flatten(Orchestrator.get(onboard, id))
      assert.deepInclude(waiting, { status: "Running", done: ["identify"], remaining: ["checkCredit", "openAccount"] })

      yield* deadLetters.replay([letter.key])
      yield* MessagingTest.drain
      assert.strictEqual((yield* Orchestrator.result(onboard, id)).name, "Initech")
    }).pipe(Effect.provide(Test))
  )

  it.effect("onboards a customer once, however often one applies, and each tenant's own", () =>
    Effect.gen(function* () {
      yield* begin("acme", ada)
      yield* begin("acme", ada)
      yield* CommandBus.send(new Apply(ada), { headers: { tenant: "acme" } })
      yield* CommandBus.send(new Apply(ada), { headers: { tenant: "hooli" } })
      yield* MessagingTest.drain
      assert.deepStrictEqual(
        (yield* opened).map(({ tenant }) => tenant),
        ["acme", "hooli"]
      )
    }).pipe(Effect.provide(Test))
  )

  it.effect("refuses what comes without a tenant, at once or as a dead letter", () =>
    Effect.gen(function* () {
      const refused = yield* Effect.flip(Orchestrator.start(onboard, ada))
      assert.strictEqual(refused.message, "Rejected: Onboard was sent to without a tenant")
      yield* CommandBus.send(new Apply(ada))
      yield* MessagingTest.drain
      const [letter] = yield* (yield* DeadLetter.DeadLetter).list({ endpoint: "Apply" })
      assert.include(letter?.error, "Apply was sent to without a tenant")
      assert.deepStrictEqual(yield* opened, [])
    }).pipe(Effect.provide(Test))
  )

  it.effect("reads what the first release sent: its companies are businesses, with a limit of 500", () =>
    Effect.gen(function* () {
      yield* applyWithFirstRelease("acme", { id: "hooli", name: "Hooli", company: true })
      yield* MessagingTest.drain
      assert.deepStrictEqual(yield* opened, [{ tenant: "acme", name: "Hooli", limit: 500 }])
      const { done } = yield* Effect.flatten(Orchestrator.get(onboard, "acme/hooli"))
      assert.include(done, "checkCredit")
    }).pipe(Effect.provide(Test))
  )
})
