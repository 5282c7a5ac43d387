import { assert } from "@effect/vitest"
import { Effect } from "effect"
import {
  after,
  claim,
  commit,
  deduplicate,
  envelope,
  fresh,
  type It,
  minute,
  refused,
  sagaPut,
  send,
  using
} from "./fixtures.ts"

const nul = "a\u0000b"
const at = (epochMillis: number) => ({ due: { _tag: "At", epochMillis } as const })

/** Writes that no database can keep. */
const unkeepable = {
  "a NUL in a payload": send("c", { envelope: envelope({ payload: nul }) }),
  "a NUL in an endpoint": send("c", { envelope: envelope({ endpoint: nul }) }),
  "a NUL in a timer": send("c", { due: after(minute), timer: { owner: nul, name: "payment" } }),
  "a date that is none": send("c", at(Number.NaN)),
  "a date before all calendars": send("c", at(-8.64e15)),
  "a delay beyond all calendars": send("c", { due: after(1e18) }),
  "a priority that is no number": send("c", { priority: Number.NaN }),
  "a priority of more than 32 bits": send("c", { priority: 2 ** 31 }),
  "a NUL in the identifier of a saga": sagaPut({ id: nul }),
  "a NUL in the state of a saga": sagaPut({ state: nul }),
  "a NUL in a key": deduplicate(nul)
}

export const refusals = (it: It): void => {
  it.effect("rejects what cannot be kept, with the whole unit", () =>
    Effect.gen(function* () {
      for (const [what, write] of Object.entries(unkeepable)) {
        const channel = fresh("orders")
        assert.strictEqual(yield* refused(send(channel), write), "Rejected", what)
        assert.deepStrictEqual(yield* claim(channel), [], what)
      }
    })
  )

  it.effect("keeps what is only unusual", () =>
    Effect.gen(function* () {
      const channel = fresh("orders")
      yield* commit(
        send(channel, { envelope: envelope({ headers: { nul }, payload: JSON.stringify(nul) }) }),
        send(channel, { priority: -(2 ** 31) + 1, ...at(0) }),
        send(channel, { priority: 2 ** 31 - 1, due: after(-minute) }),
        send(channel, at(8.64e15))
      )
      const [, first] = yield* claim(channel)
      assert.strictEqual(first?.envelope.headers.nul, nul)
      assert.strictEqual(first?.envelope.payload, JSON.stringify(nul))
    })
  )

  it.effect("rejects a key with a NUL, and moving a message to a date that is none", () =>
    Effect.gen(function* () {
      const rejected = <A, R>(effect: Effect.Effect<A, { readonly reason: string }, R>) =>
        Effect.map(Effect.flip(effect), ({ reason }) => assert.strictEqual(reason, "Rejected"))
      yield* rejected(using((store) => store.claimKey(nul, minute)))
      const channel = fresh("orders")
      yield* commit(send(channel, { due: after(minute) }))
      const [row] = yield* using((store) => store.scheduled({ channel }))
      yield* rejected(using((store) => store.reschedule(row!.key, after(Number.NaN))))
      assert.deepStrictEqual(yield* using((store) => store.scheduled({ channel })), [row])
    })
  )
}
