/**
 * Asking: no unit of work is opened, and one that is open is read through.
 */
import { assert, it } from "@effect/vitest"
import { Envelope, Handler, Message, MessagingError, QueryBus, UnitOfWork } from "@holdfast/core"
import { Effect, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  CountRows,
  expectRefused,
  expectShipped,
  Orders,
  Place,
  place,
  Refused,
  rejected,
  Ship,
  ship,
  within
} from "./fixtures.ts"

class Find extends Message.Query<Find>()("Find", {
  payload: { id: Schema.String },
  success: Schema.NumberFromString,
  error: Refused
}) {}

const ask = (id = "1") => QueryBus.ask(new Find({ id }))

export const queries = <R>(backend: Backend<R>): void => {
  it.effect("gives the answer, or the declared error", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* ask("7"), 7)
      yield* expectRefused(ask("none"), "no such thing")
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.query(Find, ({ id }) =>
            id === "none" ? new Refused({ why: "no such thing" }) : Effect.succeed(Number(id))
          )
        )
      )
    )
  )

  it.effect("refuses an answer that does not fit the query's schema", () =>
    Effect.gen(function* () {
      const error = yield* rejected(ask())
      assert.strictEqual(error.reason, "Rejected")
      assert.match(error.detail, /the handler of Find answered a value that its schema refuses/)
    }).pipe(within(backend, Handler.layer(Handler.query(Find, () => Effect.succeed("seven" as any)))))
  )

  it.effect("opens no unit of work, and retries in place", () => {
    let runs = 0
    return Effect.gen(function* () {
      assert.strictEqual(yield* ask(), 3)
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.query(Find, () =>
            Effect.gen(function* () {
              assert.strictEqual((yield* Effect.serviceOption(UnitOfWork.UnitOfWork))._tag, "None")
              return ++runs < 3 ? yield* new Refused({ why: "busy" }) : runs
            })
          ).pipe(Handler.retry(Schedule.recurs(3)))
        )
      )
    )
  })

  it.effect("may be asked in a handler, whose unit goes on when the query fails", () => {
    const placing = Handler.command(Place, ({ id }) =>
      Effect.gen(function* () {
        yield* ship("a")
        const found = yield* Effect.orElseSucceed(ask(id), () => -1)
        return String(found)
      })
    )
    const finding = Handler.query(Find, ({ id }) =>
      id === "none" ? new Refused({ why: "no such thing" }) : Effect.succeed(Number(id))
    )
    const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      assert.strictEqual(yield* place("7"), "7")
      assert.strictEqual(yield* place("none"), "-1")
      yield* expectShipped("a", "a")
    }).pipe(within(backend, Handler.layer(placing, finding, shipping)))
  })

  it.effect("shows the headers of the conversation and of the asker", () => {
    const counting = Handler.query(CountRows, () =>
      Effect.map(Envelope.CurrentEnvelope, ({ headers }) => Number(headers.page ?? -1) + Number(headers.size ?? -1))
    )
    const placing = Handler.command(Place, () =>
      Effect.map(QueryBus.ask(new CountRows({}), { headers: { page: "2" } }), String)
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* place("1", { headers: { size: "10" } }), "12")
    }).pipe(within(backend, Handler.layer(placing, counting)))
  })

  it.effect("fails as the infrastructure does", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* rejected(ask())).reason, "Unavailable")
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.query(Find, () => new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" }))
        )
      )
    )
  )
}
