/**
 * The shop at work: one web process and two workers on one database, a worker killed in the middle of its work, an order
 * that nobody pays and a mail address that fails. At the end the tables are read, and must hold every promise.
 *
 *     npm run demo             runs the story and ends
 *     npm run demo -- --keep   leaves all running to look around
 */
import { argv } from "node:process"
import { FetchHttpClient, HttpApiClient } from "@effect/platform"
import { NodeContext, NodeRuntime } from "@effect/platform-node"
import { SqlClient } from "@effect/sql"
import { Array, Cause, Console, Effect, Fiber, Layer, Logger, LogLevel } from "effect"
import { audit, type Finding, left } from "./src/demo/audit.ts"
import { connectionString, DemoDatabase } from "./src/demo/database.ts"
import { explain, Narrator, plural, tell } from "./src/demo/narrator.ts"
import { logs, Processes, paymentTimeout, workerLease } from "./src/demo/processes.ts"
import { DemoError, waitFor } from "./src/demo/waiting.ts"
import { ShopApi } from "./src/http.ts"
import type { OrderId, PlaceOrder, Status } from "./src/messages.ts"

/** The customers' side: a client that is derived from the API. */
const shop = Effect.flatMap(Processes, ({ url }) => HttpApiClient.make(ShopApi, { baseUrl: url }))

const place = Effect.fn("place")(function* (order: typeof PlaceOrder.payload.Type) {
  const { orderId } = yield* (yield* shop).orders.place({ payload: order })
  return orderId
})

const pay = Effect.fn("pay")(function* (orderId: OrderId) {
  return yield* (yield* shop).orders.pay({ path: { id: orderId }, headers: { "idempotency-key": `${orderId}-click` } })
})

const waitForStatus = Effect.fn("waitForStatus")(function* (orderId: OrderId, status: Status) {
  const { orders } = yield* shop
  yield* waitFor(
    `${orderId} is ${status}`,
    Effect.map(orders.get({ path: { id: orderId } }), (order) => (order.status === status ? order : undefined))
  )
})

const waitForMail = Effect.fn("waitForMail")(function* (address: string) {
  const sql = yield* SqlClient.SqlClient
  yield* waitFor(
    `${address} has a mail`,
    Effect.map(sql`select subject from shop.provider_mails where address = ${address}`, ([mail]) => mail)
  )
})

// -----------------------------------------------------------------------------
// the story
// -----------------------------------------------------------------------------

const opening = Effect.gen(function* () {
  const database = yield* DemoDatabase
  const { pids, url } = yield* Processes
  yield* tell(
    database.pid === undefined
      ? `PostgreSQL ${database.version} is there, with a database of our own: ${database.database}`
      : `PostgreSQL ${database.version} was started from npm's binaries, on port ${database.port}`
  )
  const { deadLetters } = yield* shop
  yield* waitFor(
    "the web process answers",
    Effect.orElseSucceed(deadLetters.list(), () => undefined)
  )
  const running = Object.entries(pids).map(([name, pid]) => `${name} (pid ${pid})`)
  yield* tell(`three processes run the shop: ${running.join(", ")}`)
  yield* explain(`the API answers on ${url}`)
})

const outages = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql`insert into shop.provider_outages ${sql.insert([
    { address: "ada@example.org", failures_left: 2 },
    { address: "grace@example.org", failures_left: null }
  ])}`
  yield* tell("the mail provider fails for two customers: twice for Ada, and for Grace until somebody repairs it")
})

/** Most customers pay at once; every third is impatient, and clicks three times. */
const customers = Effect.gen(function* () {
  const emails = ["ada@example.org", "grace@example.org", ...Array.makeBy(34, (i) => `customer-${i + 1}@example.org`)]
  const paid = yield* Effect.forEach(
    emails,
    Effect.fn("customer")(function* (email, i) {
      const orderId = yield* place({ sku: i % 2 === 0 ? "teapot" : "lamp", quantity: 1 + (i % 3), email })
      yield* Effect.all(
        Array.makeBy(i % 3 === 0 ? 3 : 1, () => pay(orderId)),
        { concurrency: "unbounded" }
      )
      return orderId
    }),
    { concurrency: 4 }
  )
  const unpaid = yield* place({ sku: "teapot", quantity: 5, email: "forgetful@example.org" })
  return { paid, unpaid }
})

/** A piano takes three seconds to load. The warehouse's diary says which worker is at it, and that one is killed. */
const crash = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { kill, pids } = yield* Processes
  const piano = yield* place({ sku: "piano", quantity: 1, email: "clara@example.org" })
  yield* pay(piano)
  const diary = sql<{ process: string }>`select process from shop.loading_diary where order_id = ${piano} order by id`
  const victim = yield* waitFor(
    "a worker loads the piano",
    Effect.map(diary, ([entry]) => entry?.process)
  )
  yield* tell(`${victim} is loading a piano (${piano}): kill -9 ${pids[victim]}, in the middle of its work`)
  yield* kill(victim)
  return { piano, victim, diary }
})

const recovery = Effect.fn("recovery")(function* ({ diary, piano, victim }: Effect.Effect.Success<typeof crash>) {
  const second = yield* waitFor(
    "another worker loads the piano",
    Effect.map(diary, ([, entry]) => entry?.process)
  )
  yield* tell(`the lease of ${victim} (${workerLease}) ended: ${second} begins to load ${piano}, with nobody's help`)
  yield* waitForStatus(piano, "shipped")
  yield* tell(`${piano} is shipped: its loading began twice, but there is one parcel, and one line in its history`)
})

const retries = Effect.gen(function* () {
  yield* waitForMail("ada@example.org")
  yield* tell("Ada has her mail: it was tried again after 1 and 2 seconds, by whichever worker was free")
})

const deadLetter = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const { deadLetters } = yield* shop
  const letter = yield* waitFor(
    "Grace's mail is a dead letter",
    Effect.map(deadLetters.list(), (letters) => letters.find(({ message }) => message.includes("grace@example.org")))
  )
  const gaps = Array.zipWith(letter.failedAt.slice(1), letter.failedAt, (next, last) => (+next - +last) / 1_000)
  yield* tell(
    `Grace's mail failed ${letter.failedAt.length} times, and is kept as a dead letter for a person to look at`
  )
  yield* explain(`between the tries: ${gaps.map((gap) => gap.toFixed(1)).join(", ")} seconds`)
  yield* explain(`${letter.handler}: ${letter.error.split("\n")[0]}`)
  yield* explain("her parcel was not held up: each handler of an event has its own copy, retries and end")
  yield* sql`delete from shop.provider_outages where address = 'grace@example.org'`
  const { replayed } = yield* deadLetters.replay({ payload: { keys: [letter.key] } })
  yield* tell(`that person repairs the address, and replays ${plural(replayed, "dead letter")}`)
  yield* waitForMail("grace@example.org")
  yield* tell("Grace has her mail, once")
})

const timeout = Effect.fn("timeout")(function* (unpaid: OrderId) {
  yield* waitForStatus(unpaid, "cancelled")
  yield* tell(`nobody paid ${unpaid} in ${paymentTimeout}: the saga cancelled it, and its goods are back in stock`)
})

const closing = Effect.fn("closing")(function* (orders: { paid: Array<OrderId>; unpaid: Array<OrderId> }) {
  const sql = yield* SqlClient.SqlClient
  yield* waitFor(
    "nothing is left to do",
    Effect.map(left(sql), (rows) => (rows.length === 0 ? true : undefined))
  )
  yield* tell("nothing is left to do. What do the tables say?")
  const findings = yield* audit(orders)
  yield* Console.log("")
  for (const finding of findings) yield* Console.log(report(finding))
  yield* Console.log("")
  if (findings.some(({ against }) => against.length > 0)) {
    return yield* new DemoError({ message: "the audit found rows that should not be there" })
  }
  const { seconds } = yield* Narrator
  yield* Console.log(`Every promise held, in ${(yield* seconds).toFixed(0)} seconds.`)
})

const report = ({ against, claim, looked }: Finding) =>
  against.length === 0
    ? `   ok  ${String(looked).padStart(4)} ${claim}`
    : `  NOT  ${String(looked).padStart(4)} ${claim}\n${against.map((row) => `              ${JSON.stringify(row)}`).join("\n")}`

const stay = Effect.gen(function* () {
  const { url } = yield* Processes
  yield* Console.log(`
The shop is still running. Ctrl-C ends it.

  try the API         ${url}/docs
  read the tables     ${connectionString(yield* DemoDatabase)}
  what they log       ${logs}`)
  return yield* Effect.never
})

const story = Effect.gen(function* () {
  yield* opening
  yield* outages
  const shopping = yield* Effect.fork(customers)
  const crashed = yield* crash
  const { paid, unpaid } = yield* Fiber.join(shopping)
  yield* tell(`${paid.length + 2} orders came in over HTTP, and all but one are paid`)
  yield* explain("every third customer clicked three times, with one idempotency key, and was charged once")
  yield* Effect.all([recovery(crashed), retries, deadLetter, timeout(unpaid)], { concurrency: "unbounded" })
  yield* closing({ paid: [crashed.piano, ...paid], unpaid: [unpaid] })
  if (argv.includes("--keep")) yield* stay
})

const Main = Layer.mergeAll(DemoDatabase.client, Processes.layer, FetchHttpClient.layer).pipe(
  Layer.provideMerge(DemoDatabase.layer),
  Layer.provide(NodeContext.layer),
  Layer.provideMerge(Narrator.layer)
)

const watch = Effect.flatMap(Processes, (processes) => processes.watch)

const demo = Effect.gen(function* () {
  yield* Console.log("A shop on one PostgreSQL: its customers, a saga, mails that fail, and a worker that is killed.\n")
  yield* Effect.raceFirst(story, watch).pipe(Effect.provide(Main))
})

demo.pipe(
  Effect.tapErrorCause((cause) =>
    Cause.isInterruptedOnly(cause)
      ? Effect.void
      : Console.error(`\nThe demo did not succeed. What its processes logged is in ${logs}`)
  ),
  Logger.withMinimumLogLevel(LogLevel.Warning),
  NodeRuntime.runMain
)
