/**
 * What the types refuse of retries, of what becomes of given-up messages, and of work with dead letters.
 */
import { Channel, DeadLetter, Handler, Message, MessageBus } from "@holdfast/core"
import { Data, Effect, Schedule } from "effect"

class Declined extends Data.TaggedError("Declined")<{ readonly code: number }> {}
class Busy extends Data.TaggedError("Busy")<{ readonly seconds: number }> {}
class Charge extends Message.Command<Charge>()("Charge") {}
class Payments extends Channel.Tag<Payments>()("shop/Payments", { messages: [Charge] }) {}

const charge = Handler.command(Charge, (): Effect.Effect<void, Declined | Busy> => new Busy({ seconds: 1 })).pipe(
  Handler.asynchronous(Payments)
)

// @refused 'Refused' does not exist in type 'RetryTags<Busy | Declined>'
charge.pipe(Handler.retryTags({ Refused: "Never" }))

// @refused Type '"never"' is not assignable to type '"Never" | Schedule<any, Declined, never> | undefined'. Did you mean '"Never"'?
charge.pipe(Handler.retryTags({ Declined: "never" }))

const ofDeclined = Schedule.spaced("1 second").pipe(Schedule.whileInput((error: Declined) => error.code < 500))

// @refused Type 'Schedule<number, Declined, never>' is not assignable to type 'Schedule<any, Busy, never>'
charge.pipe(Handler.retryTags({ Busy: ofDeclined }))

// @refused Property 'reason' does not exist on type 'Busy | Declined'
charge.pipe(Handler.retry({ while: (error) => error.reason === "busy" }))

// @refused "shop/Payments does not carry MessageFailed, so it cannot be an error channel: add it to its messages"
MessageBus.layerErrorChannel(Payments)

// @refused Type 'string' is not assignable to type 'Cursor'
Effect.flatMap(DeadLetter.DeadLetter, (deadLetters) => deadLetters.search({ after: "17" }))

// @refused 'archived' does not exist in type
Effect.flatMap(DeadLetter.DeadLetter, (deadLetters) => deadLetters.replayAll({ archived: true }))
