/**
 * What a message class says of itself, before anything is sent.
 */
import { assert, describe, it } from "@effect/vitest"
import { Message } from "@holdfast/core"
import { Context, Schema } from "effect"

describe("a message class", () => {
  it("has its annotations, and none unless given", () => {
    class Audited extends Context.Reference<Audited>()("test/Audited", { defaultValue: () => "no" }) {}
    class Plain extends Message.Event<Plain>()("Plain") {}
    const annotations = Context.make(Audited, "yes")
    class Refund extends Message.Command<Refund>()("Refund", { annotations }) {}
    class GetRefund extends Message.Query<GetRefund>()("GetRefund", { success: Schema.String, annotations }) {}
    class Refunded extends Message.Event<Refunded>()("Refunded", { annotations }) {}
    assert.strictEqual(Context.get(Plain.messageAnnotations, Audited), "no")
    for (const message of [Refund, GetRefund, Refunded]) {
      assert.strictEqual(Context.get(message.messageAnnotations, Audited), "yes")
    }
  })

  it("is of version 1 unless given", () => {
    class Plain extends Message.Event<Plain>()("Plain") {}
    class Second extends Message.Command<Second>()("Second", { version: 2 }) {}
    assert.deepStrictEqual([Plain.version, Second.version], [1, 2])
  })

  it("refuses an empty tag", () => {
    const empty = () => class Nameless extends Message.Command<Nameless>()("") {}
    assert.throws(empty, "A message needs a tag that is not empty: it is its wire name")
  })

  it("refuses versions that do not add up", () => {
    const read = Message.upcaster(Schema.Struct({}), () => ({}))
    const event = (version: number, upcasters: Message.Upcasters<{}>) => () =>
      class Old extends Message.Event<Old>()("Old", { version, upcasters }) {}
    for (const version of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.throws(event(version, {}), `Old has version ${version}: versions are whole numbers, counted from 1`)
    }
    assert.throws(event(2, { 0: read }), "Old has an upcaster for version 0: versions are whole numbers")
    assert.throws(event(2, { 1.5: read }), "Old has an upcaster for version 1.5: versions are whole numbers")
    for (const version of [2, 3]) {
      assert.throws(
        event(2, { [version]: read }),
        `Old has an upcaster for version ${version}, but is itself of version 2: upcasters read older ones`
      )
    }
    assert.throws(event(3, { 1: read }), "Old has no upcaster for version 2, but for an older one")
    assert.throws(event(4, { 1: read, 3: read }), "Old has no upcaster for version 2, but for an older one")
    for (const upcasters of [{}, { 3: read }, { 2: read, 3: read }]) assert.doesNotThrow(event(4, upcasters))
  })

  it("has upcasters that only read", () => {
    const upcaster = Message.upcaster(Schema.Struct({ cents: Schema.Number }), ({ cents }) => ({ total: cents / 100 }))
    assert.deepStrictEqual(Schema.decodeSync(upcaster)({ cents: 150 }), { total: 1.5 })
    assert.throws(() => Schema.encodeSync(upcaster)({ total: 1.5 }), /reads older messages, and writes none/)
  })
})
