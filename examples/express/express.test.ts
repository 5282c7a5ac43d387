import type { AddressInfo } from "node:net"
import { assert, it } from "@effect/vitest"
import { Channel, MessagingTest } from "@holdfast/core"
import { Effect, Layer, ManagedRuntime, TestContext } from "effect"
import { Handlers, Leaves, makeApp } from "./main.ts"

const Test = Handlers.pipe(
  Layer.provideMerge(MessagingTest.layer),
  Layer.provideMerge(Channel.layerMemory(Leaves)),
  Layer.provideMerge(TestContext.TestContext)
)

it("lets a person approve within three days, and lapses after them", async () => {
  const runtime = ManagedRuntime.make(Test)
  const server = makeApp(runtime).listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const { port } = server.address() as AddressInfo
  const call = async (method: string, path: string, body?: unknown) => {
    const init =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, ...init })
    return [response.status, await response.json()]
  }
  const advance = (days: number) => runtime.runPromise(Effect.asVoid(MessagingTest.advance(`${days} days`)))
  assert.deepStrictEqual(await call("POST", "/leaves", { id: "a", days: -1 }), [400, { error: "ParseError" }])
  assert.deepStrictEqual(await call("GET", "/leaves/a"), [404, { error: "NoSuchRequest" }])
  await call("POST", "/leaves", { id: "a", days: 5 })
  await call("POST", "/leaves", { id: "b", days: 5 })
  await advance(2)
  assert.deepStrictEqual(await call("GET", "/leaves/a"), [200, { answer: "waiting" }])
  await call("POST", "/leaves/a/approval")
  await advance(2)
  assert.deepStrictEqual(await call("GET", "/leaves/a"), [200, { answer: "approved" }])
  assert.deepStrictEqual(await call("GET", "/leaves/b"), [200, { answer: "lapsed" }])
  await new Promise((resolve) => server.close(resolve))
  await runtime.dispose()
})
