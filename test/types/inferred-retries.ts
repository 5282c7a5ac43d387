/**
 * What is said of failures: the errors that predicates and schedules see, by tag and all together.
 */

import type { HandlerRegistry, MessageStore, MessagingError } from "@holdfast/core"
import { Channel, DeadLetter, Handler, Message, MessageBus, type MessageScheduler } from "@holdfast/core"
import { Data, Effect, type Layer, Schedule } from "effect"
import { equal, ok } from "./equal.ts"

class Declined extends Data.TaggedError("Declined")<{ readonly code: number }> {}
class Busy extends Data.TaggedError("Busy")<{ readonly seconds: number }> {}
class Charge extends Message.Command<Charge>()("Charge") {}
class Payments extends Channel.Tag<Payments>()("shop/Payments", {
  messages: [Charge],
  deadLetter: { onGivenUp: "Release", resendAfter: "5 minutes", archiveAfter: "30 days", deleteAfter: "365 days" }
}) {}
class Errors extends Channel.Tag<Errors>()("shop/Errors", { messages: [DeadLetter.MessageFailed] }) {}

const pay = (): Effect.Effect<void, Declined | Busy> => new Busy({ seconds: 1 })
const charge = Handler.command(Charge, pay)
const later = charge.pipe(Handler.asynchronous(Payments))
type Later = Handler.Handler<
  typeof Charge,
  Declined | Busy,
  Payments | MessageScheduler.MessageScheduler,
  "Asynchronous"
>

// predicates see the handler's errors, data-last and data-first
ok(
  equal<typeof charge>()(
    charge.pipe(
      Handler.retry({
        times: 3,
        while: (error) => {
          ok(equal<Declined | Busy>()(error))
          return error._tag === "Busy"
        }
      })
    )
  )
)
ok(equal<Later>()(later.pipe(Handler.retry({ until: (error) => error._tag === "Declined" }))))
ok(
  equal<Later>()(Handler.retry(later, { schedule: Schedule.spaced("1 second"), while: ({ _tag }) => _tag === "Busy" }))
)
ok(
  equal<Later>()(
    later.pipe(Handler.retry({ schedule: Schedule.recurWhile((error: Declined | Busy) => error._tag === "Busy") }))
  )
)

// a schedule for a tag sees the error of that tag alone
const bySeconds = Schedule.spaced("1 second").pipe(Schedule.whileInput((error: Busy) => error.seconds < 60))
ok(equal<Later>()(later.pipe(Handler.retryTags({ Declined: "Never", Busy: bySeconds }))))
ok(equal<Later>()(Handler.retryTags(later, { Busy: bySeconds })))
ok(equal<typeof charge>()(charge.pipe(Handler.retryTags({ Busy: Schedule.recurs(3) }))))
ok(
  equal<Handler.RetryTags<Declined | Busy>>()(
    {} as {
      readonly Declined?: "Never" | Schedule.Schedule<any, Declined, never> | undefined
      readonly Busy?: "Never" | Schedule.Schedule<any, Busy, never> | undefined
    }
  )
)

// what becomes of what is given up
ok(equal<Channel.OnGivenUp>()(Payments.policy.deadLetter.onGivenUp))
ok(equal<typeof later>()(later.pipe(Handler.deadLetter({ onGivenUp: "Stop" }))))
ok(equal<Layer.Layer<never, never, HandlerRegistry.HandlerRegistry | Errors>>()(MessageBus.layerErrorChannel(Errors)))

// operators
const operating = Effect.gen(function* () {
  const deadLetters = yield* DeadLetter.DeadLetter
  const page = yield* deadLetters.search({ text: "declined", limit: 20 })
  ok(equal<DeadLetter.Cursor | undefined>()(page.next))
  yield* deadLetters.search({ text: "declined", after: page.next })
  const replay = yield* deadLetters.replayAll(
    { tag: "Charge" },
    { canary: 1, rate: { limit: 10, interval: "1 second" } }
  )
  ok(equal<MessageStore.Replay>()(replay))
  return yield* deadLetters.edit("1", "{}")
})
ok(
  equal<Effect.Effect<{ readonly checked: boolean }, MessagingError.MessagingError, DeadLetter.DeadLetter>>()(operating)
)
ok(equal<Effect.Effect<number, MessagingError.MessagingError, MessageStore.MessageStore>>()(DeadLetter.runReplays))
