import { chmod, mkdir, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { privateCopy } from "../../packages/embedded/src/internal/binariesCopy.js"
import { find } from "../../packages/embedded/src/internal/binaryPackage.js"
import { run } from "../../packages/embedded/src/internal/command.js"
import { parse } from "../../packages/embedded/src/internal/pidFile.js"
import { choose, current } from "../../packages/embedded/src/internal/user.js"
import { directory } from "./fixture.ts"

const passwd = (...names: ReadonlyArray<string>) =>
  ["root:x:0:0::/root:/bin/sh", ...names.map((name, index) => `${name}:x:${101 + index}:${201 + index}::/:/bin/false`)]
    .join("\n")
    .concat("\n")

// as npm leaves it without install scripts, and as a careful umask makes it
const unlinkedPackage = (root: string) =>
  Effect.promise(async () => {
    const native = join(root, "native")
    await mkdir(join(native, "bin"), { recursive: true, mode: 0o700 })
    await mkdir(join(native, "lib"), { mode: 0o700 })
    const script = '#!/bin/sh\nread -r said < "$(dirname "$0")/../lib/libpq.so" && echo "$said"\n'
    await writeFile(join(native, "bin", "postgres"), script, { mode: 0o700 })
    await writeFile(join(native, "lib", "libpq.so.5"), "hello\n", { mode: 0o600 })
    return { root, version: "1", links: [{ source: "native/lib/libpq.so.5", target: "native/lib/libpq.so" }] }
  })

describe("the user of the server", () => {
  it.effect("is postgres, or else nobody, when we are root", () =>
    Effect.gen(function* () {
      const both = yield* choose({ uid: 0, name: "root", passwd: passwd("nobody", "postgres") })
      assert.deepStrictEqual(both, { name: "postgres", ids: { uid: 102, gid: 202 } })
      const one = yield* choose({ uid: 0, name: "root", passwd: passwd("daemon", "nobody") })
      assert.deepStrictEqual(one, { name: "nobody", ids: { uid: 102, gid: 202 } })
    })
  )

  it.effect("is ourselves when we are not", () =>
    Effect.gen(function* () {
      const expected = { name: "ada", ids: undefined }
      assert.deepStrictEqual(yield* choose({ uid: 1000, name: "ada", passwd: passwd("postgres") }), expected)
      assert.deepStrictEqual(yield* choose({ uid: undefined, name: "ada", passwd: "" }), expected)
    })
  )

  it.effect("is missing where the system does not know us", () =>
    Effect.gen(function* () {
      for (const surroundings of [
        { uid: 54321, name: undefined, passwd: passwd("postgres") },
        { uid: 0, name: "root", passwd: passwd() }
      ]) {
        const error = yield* Effect.flip(choose(surroundings))
        assert.strictEqual(error.reason, "UnknownUser")
        assert.include(error.message, "DATABASE_URL")
      }
    })
  )
})

describe("the programs", () => {
  it.effect("are missing with a hint where no package carries them", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(find("linux", "mips"))
      assert.strictEqual(error.reason, "UnsupportedPlatform")
      assert.include(error.message, "linux-mips")
      assert.include(error.message, "DATABASE_URL")
    })
  )

  it.scopedLive(
    "run from a private copy that has its links, also when two make it at once and when it was damaged",
    () =>
      Effect.gen(function* () {
        const parent = yield* directory
        const found = yield* unlinkedPackage(join(parent, "package"))
        const copies = yield* Effect.all([privateCopy(found, parent), privateCopy(found, parent)], { concurrency: 2 })
        assert.strictEqual(copies[0], copies[1])
        const user = yield* current
        const answer = Effect.map(run(join(copies[0], "native", "bin", "postgres"), [], user), (_) => _.output)
        assert.strictEqual(yield* answer, "hello")
        assert.strictEqual(
          yield* Effect.promise(() => readlink(join(copies[0], "native", "lib", "libpq.so"))),
          "libpq.so.5"
        )
        yield* Effect.promise(() => rm(join(copies[0], "native", "lib", "libpq.so.5")))
        assert.notInclude(yield* answer, "hello")
        assert.strictEqual(yield* privateCopy(found, parent), copies[0])
        assert.strictEqual(yield* answer, "hello")
        const left = yield* Effect.promise(() => readdir(parent))
        assert.strictEqual(left.length, 2)
      })
  )

  it.scopedLive("are not taken from a copy that others can write to", () =>
    Effect.gen(function* () {
      const installed = yield* find(process.platform, process.arch)
      const parent = yield* directory
      const planted = join(parent, `holdfast-postgres-${installed.version}-${process.getuid?.() ?? 0}`)
      yield* Effect.promise(async () => {
        await mkdir(join(planted, "native"), { recursive: true })
        await chmod(planted, 0o777)
      })
      const error = yield* Effect.flip(privateCopy(installed, parent))
      assert.strictEqual(error.reason, "UnusableDirectory")
      const marker = Effect.tryPromise(() => readFile(join(planted, ".done")))
      assert.isTrue(yield* Effect.isFailure(marker))
    })
  )
})

describe("the pid file", () => {
  it("is read when it is whole", () => {
    const whole = "4711\n/data\n1700000000\n54321\n\n127.0.0.1\n  1234 5\nready   \n"
    assert.deepStrictEqual(parse(whole), Option.some({ pid: 4711, port: 54321, isReady: true }))
    assert.deepStrictEqual(
      parse(whole.replace("ready   ", "starting")),
      Option.some({ pid: 4711, port: 54321, isReady: false })
    )
    assert.deepStrictEqual(parse("4711\n/data\n"), Option.none())
  })
})
