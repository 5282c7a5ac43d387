/**
 * Times that are none, and time that was not enough.
 */
import { Consumer, Handler, MessageScheduler, MessagingTest, Saga } from "@holdfast/core"
import { Duration, Effect, Schema, TestClock } from "effect"
import { mistake } from "./page.ts"
import { confirm, fails, letter, logs, Memory, OrderPlaced, Orders, placed, ship, shipped, within } from "./shop.ts"

const section = "Time"

const never = new Date(Number.NaN)

export const time = (): void => {
  mistake(section, "a delay that is no number", fails(shipped({ delay: Number.NaN })).pipe(within(Handler.layer(ship))))
  mistake(
    section,
    "a delay without an end",
    fails(shipped({ delay: Duration.infinity })).pipe(within(Handler.layer(ship)))
  )
  mistake(section, "a date that is none", fails(shipped({ at: never })).pipe(within(Handler.layer(ship))))
  mistake(
    section,
    "an event held back until no date",
    fails(placed({ delay: never })).pipe(within(Handler.layer(confirm)))
  )
  mistake(
    section,
    "a handler that computes no date",
    fails(placed()).pipe(
      within(
        Handler.layer(
          confirm.pipe(
            Handler.asynchronous(Orders),
            Handler.delay(() => never)
          )
        )
      )
    )
  )
  mistake(
    section,
    "a waiting message that is moved to no date",
    Effect.flatMap(MessageScheduler.MessageScheduler, (scheduler) => fails(scheduler.move("1", never))).pipe(
      Effect.provide(Memory)
    )
  )
  mistake(
    section,
    "a timeout of a saga at no date",
    Effect.gen(function* () {
      yield* placed()
      yield* MessagingTest.drain
      return (yield* letter).replace("RuntimeException: ", "")
    }).pipe(
      within(
        Handler.layer(
          Saga.make("Fulfilment", { state: Schema.Struct({}) }).pipe(
            Saga.startOn(OrderPlaced, { id: ({ id }) => id, handle: () => Effect.as(Saga.arm("payment", never), {}) }),
            Saga.onTimeout("payment", { handle: Effect.succeed }),
            Handler.asynchronous(Orders)
          )
        )
      )
    )
  )
  mistake(
    section,
    "a handler that takes too long",
    Effect.gen(function* () {
      yield* placed()
      const draining = yield* Effect.fork(MessagingTest.drain)
      yield* TestClock.adjust("1 minute")
      yield* draining
      return yield* letter
    }).pipe(
      within(
        Handler.layer(
          Handler.event(OrderPlaced, { name: "Confirm", handle: () => Effect.never }).pipe(
            Handler.timeout("1 second"),
            Handler.asynchronous(Orders)
          )
        )
      )
    )
  )
  mistake(
    section,
    "a message that nobody began in time",
    logs(
      "Ship was not begun",
      Effect.zipRight(shipped(), Effect.zipRight(TestClock.adjust("2 minutes"), Consumer.drain(Orders)))
    ).pipe(within(Handler.layer(ship.pipe(Handler.timeToLive("1 minute")))))
  )
}
