/**
 * What every store promises, whatever keeps it: `MessageStore.Encoded`, sentence by sentence.
 */
import { layer as within } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import type { Layer } from "effect"
import { claiming } from "./claiming.ts"
import { committing } from "./committing.ts"
import { crashes } from "./crashes.ts"
import { deadLetters } from "./deadLetters.ts"
import type { Features } from "./fixtures.ts"
import { flows } from "./flow.ts"
import { journal } from "./journal.ts"
import { keys } from "./keys.ts"
import { leases } from "./leases.ts"
import { letters } from "./letters.ts"
import { ordering } from "./ordering.ts"
import { pausing } from "./pausing.ts"
import { refusals } from "./refusals.ts"
import { sagas } from "./sagas.ts"
import { scheduling } from "./scheduling.ts"
import { counting } from "./stats.ts"
import { subscriptions } from "./subscriptions.ts"
import { timers } from "./timers.ts"
import { waking } from "./waking.ts"

export const suite = <E>(
  name: string,
  layer: () => Layer.Layer<MessageStore.MessageStore, E>,
  features: Features
): void =>
  within(layer(), { timeout: "1 minute" })(`MessageStore, ${name}`, (it) => {
    claiming(it, features)
    leases(it)
    crashes(it)
    scheduling(it, features)
    timers(it)
    committing(it, features)
    sagas(it)
    refusals(it)
    keys(it)
    subscriptions(it)
    deadLetters(it)
    letters(it)
    waking(it)
    ordering(it)
    pausing(it)
    journal(it)
    counting(it)
    flows(it)
  })
