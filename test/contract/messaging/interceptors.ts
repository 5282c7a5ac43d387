/**
 * Interceptors: code around a handler of its own choice.
 */
import { SqlClient } from "@effect/sql"
import { assert, it } from "@effect/vitest"
import { EventBus, Handler, Interceptor, Message, QueryBus, Saga, UnitOfWork } from "@holdfast/core"
import { Context, Effect, Exit, Layer, Option, Schedule, Schema, TestClock } from "effect"
import { type Backend, Ledger, type PostgresBackend } from "./backend.ts"
import {
  advance,
  CountRows,
  defect,
  drain,
  expectRefused,
  expectRows,
  expectWaiting,
  letters,
  Mails,
  Orders,
  onlyLetter,
  Paid,
  Place,
  Placed,
  place,
  placed,
  Refused,
  Reserve,
  refuse,
  reserve,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"

export class User extends Context.Tag("test/User")<User, string>() {}
class Auth extends Interceptor.Tag<Auth>()("test/Auth", { provides: User, failure: Refused }) {}
export class Audit extends Interceptor.Tag<Audit>()("test/Audit") {}
export class Wrapping extends Interceptor.Tag<Wrapping>()("test/Wrapping", { failure: Refused }) {}

/** Writes who comes, and refuses who does not say it. */
const AuthLive = Layer.effect(
  Auth,
  Effect.map(Ledger, (ledger) =>
    Interceptor.before(({ channel, envelope, handler }) => {
      const user = envelope.headers.user
      return Effect.zipRight(
        ledger.write(`${user} with ${envelope.tag} to ${handler} on ${channel}`),
        user === undefined ? refuse("who?") : Effect.succeed(user)
      )
    })
  )
)

export const ada = { headers: { user: "ada" } }

export const interceptors = <R>(backend: Backend<R>): void => {
  it.effect("give their handler a service, or have its message refused and what they wrote undone", () => {
    const greet = ({ id }: { readonly id: string }) =>
      Effect.flatMap(User, (user) => Effect.as(write(`${user} did ${id}`), `hello ${user}`))
    const placing = Handler.command(Place, greet).pipe(Handler.intercept(Auth))
    const shipping = Handler.command(Ship, (message) => Effect.asVoid(greet(message))).pipe(
      Handler.asynchronous(Orders),
      Handler.intercept(Auth)
    )
    const auditing = Handler.event(Placed, { name: "Book", handle: (message) => Effect.asVoid(greet(message)) }).pipe(
      Handler.intercept(Auth),
      Handler.asynchronous(Orders),
      Handler.retry(Schedule.recurs(1))
    )
    const answering = Handler.command(Reserve, (message) => Effect.asVoid(greet(message))).pipe((self) =>
      Handler.intercept(self, Auth)
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* place("a", ada), "hello ada")
      yield* expectRefused(place("b"), "who?")
      yield* expectRefused(reserve("b"), "who?")
      yield* ship("c", ada)
      yield* placed("d", ada)
      yield* ship("e")
      yield* placed("f")
      yield* drain
      yield* advance("1 minute")
      yield* expectRows(
        ...["ada with Place to Place on undefined", "ada did a", "ada with Ship to Ship on test/Orders", "ada did c"],
        ...["ada with Placed to Book on test/Orders", "ada did d"]
      )
      const parked = (yield* letters).map(({ envelope }) => `${envelope.tag} ${envelope.failures.length}`)
      assert.deepStrictEqual(parked.toSorted(), ["Placed 2", "Ship 1"])
    }).pipe(within(backend, Handler.layer(placing, shipping, auditing, answering).pipe(Layer.provide(AuthLive))))
  })

  it.effect("see all that a saga is sent, its timeouts too", () => {
    const State = Schema.Array(Schema.String)
    const step = (what: string) => (state: ReadonlyArray<string>) =>
      Effect.map(User, (user) => [...state, `${what} for ${user}`])
    const saga = Saga.make("Journey", { state: State }).pipe(
      Saga.startOn(Placed, {
        id: (_) => _.id,
        handle: () => Effect.zipRight(Saga.arm("late", "1 hour"), step("placed")([]))
      }),
      Saga.on(Paid, { id: (_) => _.id, handle: step("paid") }),
      Saga.onTimeout("late", { handle: step("late") })
    )
    const journey = saga.pipe(Handler.intercept(Auth), Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* placed("1", ada)
      yield* EventBus.publish(new Paid({ id: "1" }), ada)
      yield* advance("2 hours")
      const instance = Option.getOrThrow(yield* Saga.get(saga, "1"))
      assert.deepStrictEqual(instance.state, ["placed for ada", "paid for ada", "late for ada"])
      yield* EventBus.publish(new Paid({ id: "1" }))
      yield* drain
      assert.include((yield* onlyLetter).error, "who?")
    }).pipe(within(backend, Handler.layer(journey).pipe(Layer.provide(AuthLive))))
  })

  it.effect("see a query, and may refuse it with an error that it declares", () => {
    class Whoami extends Message.Query<Whoami>()("Whoami", { success: Schema.String, error: Refused }) {}
    const answer = Handler.query(Whoami, () => User).pipe(Handler.intercept(Auth))
    return Effect.gen(function* () {
      assert.strictEqual(yield* QueryBus.ask(new Whoami(), ada), "ada")
      yield* expectRefused(QueryBus.ask(new Whoami()), "who?")
    }).pipe(within(backend, Handler.layer(answer).pipe(Layer.provide(AuthLive))))
  })

  it.effect("keep what they acquire until the handler has ended, and hear how it did before its unit commits", () => {
    const notes: Array<string> = []
    const note = (text: string) => Effect.sync(() => void notes.push(text))
    const AuditLive = Layer.effect(
      Audit,
      Effect.map(Ledger, (ledger) =>
        Interceptor.after((exit, { message }) =>
          Effect.all([
            note(`${(message as Place).id} ${Exit.isSuccess(exit) ? `answered ${exit.value}` : exit.cause}`),
            ledger.write(`inside ${(message as Place).id}`),
            UnitOfWork.outside(ledger.write(`outside ${(message as Place).id}`))
          ])
        )
      )
    )
    const WrappingLive = Layer.succeed(
      Wrapping,
      Interceptor.before(() => Effect.acquireRelease(note("acquired"), () => note("released")))
    )
    const placing = Handler.command(Place, ({ id }) =>
      Effect.zipRight(
        UnitOfWork.afterCommit(note("committed")),
        id === "bad" ? refuse("bad") : id === "dead" ? Effect.dieMessage("dead") : Effect.succeed("yes")
      )
    ).pipe(Handler.intercept(Wrapping), Handler.intercept(Audit))
    return Effect.gen(function* () {
      assert.strictEqual(yield* place("good"), "yes")
      assert.deepStrictEqual(notes.splice(0), ["acquired", "released", "good answered yes", "committed"])
      yield* expectRefused(place("bad"), "bad")
      assert.strictEqual(yield* defect(place("dead")), "dead")
      assert.deepStrictEqual(
        notes.map((text) => text.split("\n")[0]!.replace(/Refused.*/, "Refused")),
        ["acquired", "released", "bad Refused", "acquired", "released", "dead RuntimeException: dead"]
      )
      yield* expectRows("inside good", "outside good", "outside bad", "outside dead")
    }).pipe(within(backend, Handler.layer(placing).pipe(Layer.provide([AuditLive, WrappingLive]))))
  })

  it.effect("may run a handler again: of a run that failed nothing is left", () => {
    const runs = { Place: 0, Ship: 0 }
    const trying = (name: "Place" | "Ship", id: string) =>
      Effect.gen(function* () {
        const run = ++runs[name]
        yield* write(`${name} ${id}, run ${run}`)
        yield* reserve(`${name} ${run}`)
        yield* write(`${name} ${run === 3 ? "twice" : "once"}`) // on a database, run 2 aborts what run 1 would have left
        if (run < 3) return yield* refuse(`run ${run}`)
      })
    const placing = Handler.command(Place, ({ id }) => Effect.as(trying("Place", id), "done"))
    const shipping = Handler.command(Ship, ({ id }) => trying("Ship", id)).pipe(Handler.asynchronous(Orders))
    const reserving = Handler.command(Reserve, ({ id }) => EventBus.publish(new Paid({ id })))
    const booking = Handler.event(Paid, { name: "Book", handle: ({ id }) => write(`booked ${id}`) }).pipe(
      Handler.asynchronous(Mails)
    )
    const WrappingLive = Layer.succeed(
      Wrapping,
      Interceptor.around((handled) => Effect.retry(handled, Schedule.recurs(2)))
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* place("a"), "done")
      yield* expectWaiting(1, Mails)
      yield* ship("b")
      yield* drain
      yield* expectRows(
        ...["Place a, run 3", "Place twice", "booked Place 3", "Ship b, run 3", "Ship twice", "booked Ship 3"]
      )
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(
      within(
        backend,
        Handler.layer(
          Handler.intercept(placing, Wrapping),
          Handler.intercept(shipping, Wrapping),
          reserving,
          booking
        ).pipe(Layer.provide(WrappingLive))
      )
    )
  })

  it.effect("may catch failures, time the handler, and refuse with an error of their own", () => {
    const WrappingLive = Layer.succeed(
      Wrapping,
      Interceptor.around((handled, { message }) =>
        (message as Place).id === "slow"
          ? Effect.timeoutFail(handled, { duration: "10 seconds", onTimeout: () => new Refused({ why: "too slow" }) })
          : Effect.catchIf(
              handled,
              (error) => error instanceof Refused,
              () => refuse("in other words")
            )
      )
    )
    const placing = Handler.command(Place, ({ id }) =>
      Effect.zipRight(write(id), id === "slow" ? Effect.never : id === "bad" ? refuse() : Effect.succeed("yes"))
    ).pipe(Handler.intercept(Wrapping))
    return Effect.gen(function* () {
      yield* expectRefused(place("bad"), "in other words")
      assert.strictEqual(yield* place("good"), "yes")
      const clock = Effect.forever(TestClock.adjust("1 second"))
      yield* Effect.raceFirst(expectRefused(place("slow"), "too slow"), clock)
      yield* expectRows("good")
    }).pipe(within(backend, Handler.layer(placing).pipe(Layer.provide(WrappingLive))))
  })
}

/** What a query does with SQL in a unit of work, behind an interceptor. */
export const interceptorsSql = (backend: PostgresBackend): void => {
  it.effect("around a query do not begin the transaction of the unit that asks it", () => {
    const AuditLive = Layer.succeed(
      Audit,
      Interceptor.around((handled) => handled)
    )
    const looking = Handler.query(CountRows, () =>
      Effect.map(Effect.serviceOption(SqlClient.TransactionConnection), (connection) =>
        connection._tag === "None" ? 0 : 1
      )
    ).pipe(Handler.intercept(Audit))
    const placing = Handler.command(Place, () => Effect.map(QueryBus.ask(new CountRows()), String))
    return Effect.gen(function* () {
      assert.strictEqual(yield* place(), "0")
    }).pipe(within(backend, Handler.layer(placing, looking).pipe(Layer.provide(AuditLive))))
  })
}
