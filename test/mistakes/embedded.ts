/**
 * The embedded PostgreSQL, as far as nothing is started. What needs a server that runs is in `test/embedded`.
 */
import { mkdir, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { EmbeddedPostgres } from "@holdfast/embedded"
import { ConfigProvider, Effect, Redacted } from "effect"
import { find } from "../../packages/embedded/src/internal/binaryPackage.js"
import { choose } from "../../packages/embedded/src/internal/user.js"
import { directory } from "../embedded/fixture.ts"
import { mistake } from "./page.ts"
import { fails } from "./shop.ts"

const section = "Embedded PostgreSQL"

const production = Effect.withConfigProvider(ConfigProvider.fromMap(new Map([["NODE_ENV", "production"]])))

/** In a directory that has nothing but this file, of version 14. */
const inData = (file: string) =>
  Effect.gen(function* () {
    const dataDirectory = yield* directory
    yield* Effect.promise(async () => {
      await mkdir(join(dataDirectory, dirname(file)), { recursive: true })
      await writeFile(join(dataDirectory, file), "14\n")
    })
    return yield* fails(EmbeddedPostgres.make({ dataDirectory }))
  })

const from = (url: string) => fails(EmbeddedPostgres.serverFromUrl(Redacted.make(url)))

export const embedded = (): void => {
  mistake(section, "in production", production(fails(EmbeddedPostgres.make())))
  mistake(section, "installed without optional dependencies", fails(find("none", "x64")))
  mistake(section, "as root, where no other user is known", fails(choose({ uid: 0, name: "root", passwd: "" })))
  mistake(
    section,
    "as a user without a name, as some containers have",
    fails(choose({ uid: 1001, name: undefined, passwd: "" }))
  )
  mistake(section, "in the data of another PostgreSQL", inData("PG_VERSION"))
  mistake(section, "in the data of an older version", inData("cluster/data/PG_VERSION"))
  mistake(section, "a URL that is none", from("localhost"))
  mistake(section, "a server that does not answer", from("postgresql://postgres@127.0.0.1:1/postgres"))
}
