import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Scratch } from "./database.ts"
import { textArray, textArraysIn } from "./internal.ts"

layer(Scratch.layer, { excludeTestServices: true })("texts that go to the server in binary", (it) => {
  it.effect("arrive as they are", () =>
    Effect.gen(function* () {
      const { control } = yield* Scratch
      const texts = ["", "plain", 'a "quoted" \\ {one}, and, more', "NULL", null, "größer 漢字 🙂", "\n\t", " "]
      for (const values of [texts, [null], []]) {
        const rows = yield* control.unsafe<{ value: string | null }>(
          "select value from unnest($1::text[]) with ordinality l (value, place) order by place",
          [textArray(values)]
        )
        assert.deepStrictEqual(
          rows.map(({ value }) => value),
          values
        )
      }
    })
  )

  it.effect("are those that the statement casts to arrays of texts", () =>
    Effect.sync(() =>
      assert.deepStrictEqual(
        textArraysIn("unnest($1::bigint[], $2::text[], $12::text[]), $3::text, $2::text[]"),
        [1, 11]
      )
    )
  )
})
