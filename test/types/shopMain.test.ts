import { execFile } from "node:child_process"
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))
const shop = join(root, "examples/shop/src")
const cache = join(root, "node_modules/.cache/holdfast-shop-main")

/** What is left out of a main, and the requirement that the compiler then names. */
const omissions: ReadonlyArray<readonly [main: "worker" | "web", layer: string, named: string]> = [
  ["worker", "  Layer.provide(WorkerHandlersLive),\n", "HandledOn<OrdersChannel>"],
  ["worker", "Orders.layer, ", "Orders"],
  ["worker", "Sales.layer, ", "Sales"],
  ["worker", "Shipping.layer, ", "Shipping"],
  ["worker", "Mailer.layer, ", "Mailer"],
  ["worker", "PaymentTimeout.layer, ", "PaymentTimeout"],
  ["worker", ", MessageBus.layer", "HandlerRegistry"],
  ["worker", "PgChannel.layer(OrdersChannel), ", "OrdersChannel"],
  ["worker", ", PgChannel.layer(ShippingChannel)", "ShippingChannel"],
  ["worker", "  Layer.provide(PgMessaging.layerWith({ migrate: true })),\n", "MessageStore"],
  ["worker", "  Layer.provide(Tables.layer),\n", "Tables"],
  ["worker", `,\n  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))`, "PgClient"],
  [
    "web",
    "  Layer.provide(ServerLive), // what is above is built later: it listens once all that follows is there\n",
    "HttpServer"
  ],
  ["web", "  Layer.provide(WebHandlersLive),\n", `Handles<"PlaceOrder">`],
  ["web", "Orders.layer, ", "Orders"],
  ["web", "Payments.layer, ", "Payments"],
  ["web", ", MessageBus.layer", "HandlerRegistry"],
  ["web", "PgChannel.layer(OrdersChannel), ", "OrdersChannel"],
  ["web", ", PgChannel.layer(ShippingChannel)", "ShippingChannel"],
  ["web", "  Layer.provide(PgMessaging.layerWith({ migrate: true })),\n", "MessageStore"],
  ["web", "  Layer.provide(Tables.layer),\n", "Tables"],
  ["web", `,\n  Layer.provide(PgClient.layerConfig({ url: Config.redacted("DATABASE_URL") }))`, "PgClient"]
]

const variant = (main: string, layer: string): string => {
  const source = readFileSync(join(shop, `${main}.ts`), "utf8")
  const [imports = "", program = ""] = source.split(/(?=const Main = )/)
  assert.include(program, layer, `${main}.ts has no longer what the test leaves out`)
  return (imports + program.replace(layer, "")).replaceAll(/from "\.\//g, `from "${shop}/`)
}

const compile = (): Promise<string> => {
  rmSync(cache, { recursive: true, force: true })
  mkdirSync(cache, { recursive: true })
  for (const [index, [main, layer]] of omissions.entries()) {
    writeFileSync(join(cache, `v${index}.ts`), variant(main, layer))
  }
  const options = {
    composite: false,
    noEmit: true,
    noUnusedLocals: false,
    rewriteRelativeImportExtensions: false,
    types: ["node"]
  }
  const config = { extends: join(root, "tsconfig.base.json"), compilerOptions: options, include: ["*.ts"] }
  writeFileSync(join(cache, "tsconfig.json"), JSON.stringify(config))
  const tsc = join(root, "node_modules/.bin/tsc")
  return new Promise((resolve) => {
    execFile(tsc, ["-p", cache, "--pretty", "false"], { maxBuffer: 1 << 26 }, (_, stdout) => resolve(stdout))
  })
}

it("names, in the error of a main of the shop, the layer that was left out", async () => {
  const diagnostics = (await compile()).split(/\n(?=\S)/)
  omissions.forEach(([main, layer, named], index) => {
    const own = diagnostics.filter((text) => text.includes(`/v${index}.ts(`) || text.startsWith(`v${index}.ts(`))
    assert.isNotEmpty(own, `${main} compiles without ${layer}`)
    assert.isTrue(
      own.some((text) => text.includes(named)),
      `${main} without ${layer} says nothing of ${named}:\n${own.join("\n")}`
    )
  })
})
