import type { AddressInfo } from "node:net"
import { assert, it } from "@effect/vitest"
import { Channel, MessageBus, MessageStore } from "@holdfast/core"
import { Effect, Layer, ManagedRuntime } from "effect"
import { Handlers, Mails, makeServer } from "./main.ts"

const Test = Handlers.pipe(Layer.provideMerge(MessageBus.layerMemory), Layer.provideMerge(Channel.layerMemory(Mails)))

it("answers with what the command says, and sends once for one key", async () => {
  const runtime = ManagedRuntime.make(Test)
  const server = makeServer(runtime).listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const { port } = server.address() as AddressInfo
  const post = async (body: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}/signups`, { method: "POST", body, headers })
    return [response.status, await response.json()]
  }
  assert.deepStrictEqual(await post(`{ "email": "ada" }`), [422, { error: "AddressRefused", email: "ada" }])
  assert.strictEqual((await post("{"))[0], 400)
  const key = { "idempotency-key": "click-1" }
  assert.deepStrictEqual(await post(`{ "email": "ada@example.org" }`, key), [202, { status: "accepted" }])
  assert.deepStrictEqual(await post(`{ "email": "ada@example.org" }`, key), [202, { status: "accepted" }])
  const depth = Effect.flatMap(MessageStore.MessageStore, (store) => store.depth(Mails.channelName))
  assert.strictEqual((await runtime.runPromise(depth)).ready, 1)
  await new Promise((resolve) => server.close(resolve))
  await runtime.dispose()
})
