import * as Context from "effect/Context"
import type { Channel } from "../Channel.ts"
import type { Recording } from "./journal.ts"
import type { Observer } from "./observer.ts"

/**
 * Which endpoint a handler runs as: sagas arm their timers on its channel.
 *
 * @internal
 */
export class CurrentEndpoint extends Context.Tag("@holdfast/core/internal/CurrentEndpoint")<
  CurrentEndpoint,
  {
    readonly name: string
    readonly channel: Channel | undefined
    readonly recording: Recording
    readonly observe: (typeof Observer)["Service"]["observe"]
  }
>() {}
