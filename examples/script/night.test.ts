import { assert, it } from "@effect/vitest"
import { Channel, DeadLetter, MessagingTest } from "@holdfast/core"
import { Effect, Layer, Ref } from "effect"
import { Errors, evening, Gateway, Handlers, night, Payments } from "./night.ts"

const Test = Handlers.pipe(
  Layer.provideMerge(MessagingTest.layer),
  Layer.provideMerge(Layer.merge(Channel.layerMemory(Payments), Channel.layerMemory(Errors)))
)

/** Steps of the replay and messages in turn, which processes do side by side. */
const settle = Effect.repeatN(Effect.zipRight(DeadLetter.runReplays, MessagingTest.advance("2 seconds")), 3)

it.effect("a canary stops a replay that is too early, and the next one brings all charges home", () =>
  Effect.gen(function* () {
    yield* evening
    yield* MessagingTest.advance("1 minute")
    const replay = yield* night(settle)
    assert.deepStrictEqual([replay.state, replay.replayed], ["Done", 4])
    const { charged } = yield* Gateway
    assert.deepStrictEqual((yield* Ref.get(charged)).toSorted(), ["1", "2", "3", "4"])
  }).pipe(Effect.provide(Test))
)
