import { assert, it } from "@effect/vitest"
import { Channel, MessageBus } from "@holdfast/core"
import { Effect, Layer } from "effect"
import { Handlers, Imports, importAll } from "./main.ts"

const Test = Handlers.pipe(Layer.provideMerge(MessageBus.layerMemory), Layer.provideMerge(Channel.layerMemory(Imports)))

it.effect("imports all lines, each once", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* importAll(["a", "b", "c"]), 3)
  }).pipe(Effect.provide(Test))
)
