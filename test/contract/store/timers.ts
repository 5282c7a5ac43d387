import { assert } from "@effect/vitest"
import type { MessageStore } from "@holdfast/core"
import { Effect } from "effect"
import {
  acknowledge,
  advance,
  after,
  claim,
  claimOne,
  commit,
  day,
  fresh,
  hour,
  type It,
  ids,
  minute,
  retry,
  send,
  using
} from "./fixtures.ts"

const arm = (channel: string, owner: string, name: string, due: MessageStore.Due = after(hour)) =>
  send(channel, { due, timer: { owner, name } })

const cancel = (owner: string, name?: string): MessageStore.CancelTimer => ({ _tag: "CancelTimer", owner, name })

/** What fires until tomorrow. */
const fired = (channel: string) => Effect.zipRight(advance(day), Effect.map(claim(channel), ids))

export const timers = (it: It): void => {
  it.effect("replaces an armed timer of the same name", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      const second = arm(channel, owner, "timeout", after(2 * hour))
      yield* commit(arm(channel, owner, "timeout"))
      yield* commit(second)
      assert.deepStrictEqual(ids(yield* using((store) => store.scheduled({ channel }))), ids([second]))
      assert.deepStrictEqual(yield* fired(channel), ids([second]))
    })
  )

  it.effect("replaces a timer that is ready but not claimed", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      const [second, third] = [arm(channel, owner, "timeout", after(0)), arm(channel, owner, "timeout")]
      yield* commit(arm(channel, owner, "timeout", after(-1)))
      yield* commit(second)
      yield* commit(third)
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* fired(channel), ids([third]))
    })
  )

  it.effect("replaces a timer on another channel", () =>
    Effect.gen(function* () {
      const [channel, other, owner] = [fresh("orders"), fresh("orders"), fresh("saga")]
      const second = arm(other, owner, "timeout")
      yield* commit(arm(channel, owner, "timeout"))
      yield* commit(second)
      yield* advance(day)
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(ids(yield* claim(other)), ids([second]))
    })
  )

  it.effect("leaves timers of other names and owners armed", () =>
    Effect.gen(function* () {
      const [channel, owner, other] = [fresh("orders"), fresh("saga"), fresh("saga")]
      const armed = [
        arm(channel, owner, "a"),
        arm(channel, owner, "b"),
        arm(channel, other, "a"),
        send(channel, { due: after(hour) })
      ]
      for (const write of armed) yield* commit(write)
      assert.sameMembers([...(yield* fired(channel))], [...ids(armed)])
    })
  )

  it.effect("leaves a claimed timer to its consumer when it is armed again", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      yield* commit(arm(channel, owner, "timeout", after(0)))
      const delivery = yield* claimOne(channel)
      const second = arm(channel, owner, "timeout")
      yield* commit(second)
      yield* commit(cancel(owner, "other"))
      yield* commit(acknowledge(delivery))
      assert.deepStrictEqual(yield* fired(channel), ids([second]))
    })
  )

  it.effect("lets the message of a timer arm the timer again as it is acknowledged", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      yield* commit(arm(channel, owner, "timeout", after(0)))
      const second = arm(channel, owner, "timeout")
      yield* commit(second, acknowledge(yield* claimOne(channel)))
      assert.deepStrictEqual(yield* fired(channel), ids([second]))
    })
  )

  it.effect("cancels one timer by its name, scheduled or ready", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      const kept = arm(channel, owner, "kept")
      yield* commit(arm(channel, owner, "scheduled"), arm(channel, owner, "ready", after(0)), kept)
      yield* commit(cancel(owner, "scheduled"))
      yield* commit(cancel(owner, "ready"))
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* fired(channel), ids([kept]))
    })
  )

  it.effect("cancels all timers of an owner, scheduled and ready, and nobody else's", () =>
    Effect.gen(function* () {
      const [channel, owner, other] = [fresh("orders"), fresh("saga"), fresh("saga")]
      const kept = arm(channel, other, "a")
      yield* commit(
        arm(channel, owner, "a"),
        arm(fresh("orders"), owner, "b"),
        arm(channel, owner, "c", after(0)),
        kept
      )
      yield* commit(cancel(owner))
      assert.isEmpty(yield* claim(channel))
      assert.deepStrictEqual(yield* fired(channel), ids([kept]))
    })
  )

  it.effect("leaves a claimed timer to its consumer when it is cancelled", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      yield* commit(arm(channel, owner, "timeout", after(0)))
      const delivery = yield* claimOne(channel)
      yield* commit(cancel(owner, "timeout"))
      yield* commit(cancel(owner))
      yield* commit(acknowledge(delivery))
    })
  )

  it.effect("cancels nothing when there is no such timer", () =>
    Effect.gen(function* () {
      yield* commit(cancel(fresh("saga"), "timeout"), cancel(fresh("saga")))
    })
  )

  it.effect("takes the writes of a unit in their order: the last about a timer counts", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      const rearmed = arm(channel, owner, "rearmed")
      const twice = arm(channel, owner, "twice")
      yield* commit(
        arm(channel, owner, "cancelled"),
        cancel(owner, "cancelled"),
        cancel(owner, "rearmed"),
        rearmed,
        arm(channel, owner, "twice"),
        twice
      )
      assert.sameMembers([...(yield* fired(channel))], [...ids([rearmed, twice])])
    })
  )

  it.effect("arms a timer once when several units arm it at once", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      const arming = Array.from({ length: 10 }, () => commit(arm(channel, owner, "timeout")))
      yield* Effect.all(arming, { concurrency: "unbounded" })
      yield* using((store) => store.commit(Array.from({ length: 10 }, () => [arm(channel, owner, "timeout")])))
      assert.lengthOf(yield* fired(channel), 1)
    })
  )

  it.effect("cancels and replaces the message of a timer that waits for its retry", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      yield* commit(arm(channel, owner, "a", after(0)), arm(channel, owner, "b", after(0)))
      for (const delivery of yield* claim(channel)) yield* commit(retry(delivery, hour, { at: 1, error: "no" }))
      const second = arm(channel, owner, "b")
      yield* commit(cancel(owner, "a"), second)
      assert.deepStrictEqual(yield* fired(channel), ids([second]))
    })
  )

  it.effect("retries and releases the message of a timer that was armed again beside it", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      const [first, other] = [arm(channel, owner, "a", after(0)), arm(channel, owner, "b", after(0))]
      yield* commit(first, other)
      const [retried, released] = yield* claim(channel)
      const again = [arm(channel, owner, "a"), arm(channel, owner, "b")]
      yield* commit(...again)
      yield* commit(retry(retried!, hour))
      yield* using((store) => store.release([released!.lease], hour))
      yield* commit(cancel(owner, "a"))
      assert.sameMembers([...(yield* fired(channel))], [...ids([first, other, again[1]!])])
    })
  )

  it.effect("can arm a timer again after it has fired", () =>
    Effect.gen(function* () {
      const [channel, owner] = [fresh("orders"), fresh("saga")]
      yield* commit(arm(channel, owner, "timeout", after(minute)))
      yield* advance(2 * minute)
      yield* commit(acknowledge(yield* claimOne(channel)))
      const second = arm(channel, owner, "timeout")
      yield* commit(second)
      assert.deepStrictEqual(yield* fired(channel), ids([second]))
    })
  )
}
