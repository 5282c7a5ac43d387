import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import * as database from "./database.ts"
import { minute, using } from "./fixtures.ts"
import { suite } from "./suite.ts"

suite("PostgreSQL", () => database.layer({ testing: true }), { kind: "postgres", frozenClock: false })

it.effect("MessageStore, PostgreSQL: refuses to move its clock when it is not opened for tests", () =>
  using((store) => store.advance(minute)).pipe(
    Effect.flip,
    Effect.map((error) => assert.strictEqual(error.reason, "Rejected")),
    Effect.provide(database.layer({ testing: false }))
  )
)
