/**
 * Consumers that tests start, hold up and cut off.
 */
import { Channel, Consumer, Envelope, Handler, MessageStore } from "@holdfast/core"
import { Deferred, Effect, Exit, FiberId, Layer, Scope } from "effect"
import { Orders, Placed, pass, Ship, second, using, write } from "./fixtures.ts"

export class Fragile extends Channel.Tag<Fragile>()("test/Fragile", {
  messages: [Ship, Placed],
  deadLetter: { afterCrashes: 1, unknownEndpointAfter: "1 minute" }
}) {}

export const ids = (count: number) => Array.from({ length: count }, (_, index) => `${index + 1}`)

/** Starts a consumer; the effect it gives closes it. */
export const consume = (options?: Consumer.Options) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
    yield* Layer.buildWithScope(Consumer.layer(Orders, options), scope)
    return Scope.close(scope, Exit.void)
  })

/** The store, changed: what a consumer uses in place of the one that the test sees. */
export const withStore = <A, E, R>(
  change: (store: MessageStore.Encoded) => Partial<MessageStore.Encoded>,
  effect: Effect.Effect<A, E, R>
) =>
  Effect.flatMap(MessageStore.MessageStore, (store) =>
    Effect.provideService(effect, MessageStore.MessageStore, { ...store, ...change(store) })
  )

/** Handlers that wait until the test lets them go. */
export const gated = () => {
  const state = { running: 0, most: 0, started: 0, interrupted: 0, attempts: [] as Array<number> }
  const gate = Deferred.unsafeMake<void>(FiberId.none)
  const handler = Handler.command(Ship, ({ id }) =>
    Effect.gen(function* () {
      state.attempts.push((yield* Envelope.CurrentEnvelope).attempt)
      state.started++
      state.most = Math.max(state.most, ++state.running)
      yield* Deferred.await(gate)
      yield* write(id)
    }).pipe(
      Effect.onInterrupt(() => Effect.sync(() => void state.interrupted++)),
      Effect.ensuring(Effect.sync(() => void state.running--))
    )
  ).pipe(Handler.asynchronous(Orders))
  return { state, handler, open: Deferred.succeed(gate, undefined) }
}

export const plain = Handler.command(Ship, ({ id }) => write(id)).pipe(Handler.asynchronous(Orders))

/** Another worker takes all there is, and is never seen again. */
export const crash = Effect.zipRight(
  using((store) => store.claim({ channel: Orders.channelName, limit: 10, leaseMillis: second, owner: "lost" })),
  pass(2 * second)
)
