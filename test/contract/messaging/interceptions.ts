/**
 * Interceptors around all that they select: at handlers, buses and consumers, and when messages are sent.
 */
import { assert, it } from "@effect/vitest"
import {
  CommandBus,
  type Envelope,
  EventBus,
  Handler,
  type HandlerRegistry,
  Interceptor,
  Message,
  MessagingError,
  MessagingTest,
  QueryBus,
  UnitOfWork
} from "@holdfast/core"
import { Context, Effect, Layer, Logger, Option, Predicate, pipe, Schedule, Schema } from "effect"
import { type Backend, Ledger } from "./backend.ts"
import { Broker, makeBroker } from "./direct.ts"
import {
  advance,
  CountRows,
  conflicting,
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
  Reserve,
  refuse,
  rejected,
  reserve,
  Ship,
  ship,
  within,
  write
} from "./fixtures.ts"
import { Audit, ada, Wrapping } from "./interceptors.ts"

const rejection = new MessagingError.MessagingError({ reason: "Rejected", detail: "not today" })

/** An interceptor of many messages, under a name of its own. */
const everywhere = (
  name: string,
  does: Interceptor.Interceptor<void, MessagingError.MessagingError>,
  options: {
    readonly at: Interceptor.Place
    readonly select?: Predicate.Predicate<Interceptor.Interception>
    readonly outside?: ReadonlyArray<string>
  }
): Layer.Layer<never, never, HandlerRegistry.HandlerRegistry> => {
  const tag = (key: string) =>
    class Many extends Interceptor.Tag<Many>()(key, { failure: MessagingError.MessagingError }) {}
  const own = tag(name)
  return Interceptor.layer(own, { ...options, outside: options.outside?.map(tag) }).pipe(
    Layer.provide(Layer.succeed(own, does))
  )
}

/** Notes what the effect of each begins with. */
const noting = (notes: Array<string>, name: string, options: Parameters<typeof everywhere>[2]) =>
  everywhere(
    name,
    Interceptor.before(() => Effect.sync(() => void notes.push(name))),
    options
  )

const all = <I, E, R>(layers: ReadonlyArray<Layer.Layer<I, E, R>>): Layer.Layer<I, E, R> =>
  layers.reduce((merged, layer) => Layer.merge(merged, layer))

const shipping = Handler.command(Ship, ({ id }) => write(`shipped ${id}`)).pipe(Handler.asynchronous(Orders))

export const interceptions = <R>(backend: Backend<R>): void => {
  it.effect("run in order: registered before or after the handlers, the first outside, a handler's own inside", () => {
    const notes: Array<string> = []
    const own = (name: string) => Interceptor.after(() => Effect.sync(() => void notes.push(name)))
    const OwnLive = Layer.merge(Layer.succeed(Audit, own("inner")), Layer.succeed(Wrapping, own("outer")))
    const placing = Handler.command(Place, () => Effect.sync(() => `${notes.push("handler")}`)).pipe(
      Handler.intercept(Audit),
      Handler.intercept(Wrapping)
    )
    const registered = (name: string, outside: ReadonlyArray<string> = []) =>
      noting(notes, name, { at: "Handler", outside })
    const handlers = Handler.layer(placing).pipe(
      Layer.provide(OwnLive),
      Layer.provide(registered("b", ["test/none"])),
      Layer.provideMerge(registered("a"))
    )
    return Effect.gen(function* () {
      yield* place()
      assert.deepStrictEqual(notes.splice(0), ["a", "b", "handler", "inner", "outer"])
      yield* Layer.build(registered("c"))
      yield* Layer.build(registered("d", ["b", "e"]))
      yield* Layer.build(registered("e", ["a"]))
      yield* place()
      assert.deepStrictEqual(notes.splice(0, 5), ["c", "d", "b", "e", "a"])
      const circle = yield* defect(Layer.build(registered("b", ["c", "d"])))
      assert.strictEqual(
        circle,
        'The interceptors "b" and "d" are to be outside of each other: leave out one `outside`'
      )
      yield* Layer.build(noting(notes, "b", { at: "Bus", outside: ["d"] })) // another place, no circle
    }).pipe(Effect.scoped, within(backend, handlers))
  })

  it.effect("meet what their predicates select", () => {
    const notes: Array<string> = []
    class Role extends Context.Tag("test/Role")<Role, string>() {}
    class Level extends Context.Reference<Level>()("test/Level", { defaultValue: () => 1 }) {}
    class Refund extends Message.Command<Refund>()("Refund", {
      annotations: Context.make(Role, "admin").pipe(Context.add(Level, 2))
    }) {}
    class Look extends Message.Query<Look>()("Look", {
      success: Schema.String,
      annotations: Context.make(Role, "clerk")
    }) {}
    const { annotated, channel, handler, kind, message } = Interceptor
    const selected = all(
      Object.entries({
        commands: kind("Command"),
        others: kind("Query", "Event"),
        refunds: message(Refund, Ship),
        roles: annotated(Role),
        admins: annotated(Role, (role) => role === "admin"),
        levels: annotated(Level),
        low: Predicate.and(
          kind("Command"),
          annotated(Level, (level) => level === 1)
        ),
        books: handler("Book", "Look"),
        orders: channel(Orders),
        mails: channel(Orders, Mails),
        both: Predicate.and(kind("Event"), channel(Mails)),
        neither: pipe(kind("Event"), Predicate.or(channel(Orders)), Predicate.not),
        first: (_: Interceptor.Interception) => _.envelope.headers.user === "ada" && _.message instanceof Place
      }).map(([name, select]) => noting(notes, name, { at: "Handler", select }))
    )
    const nothing = () => Effect.void
    const handlers = Handler.layer(
      Handler.command(Place, () => Effect.succeed("")),
      Handler.command(Refund, nothing),
      Handler.query(Look, () => Effect.succeed("")),
      Handler.event(Placed, { name: "Book", handle: nothing }),
      Handler.event(Paid, { name: "Thank", handle: nothing }).pipe(Handler.asynchronous(Mails)),
      shipping
    )
    const expectNotes = (...expected: ReadonlyArray<string>) =>
      Effect.map(drain, () => assert.deepStrictEqual(notes.splice(0).toSorted(), expected.toSorted()))
    return Effect.gen(function* () {
      yield* place("1", ada)
      yield* expectNotes("commands", "low", "neither", "first")
      yield* CommandBus.send(new Refund(), ada)
      yield* expectNotes("commands", "refunds", "roles", "admins", "levels", "neither")
      yield* QueryBus.ask(new Look())
      yield* expectNotes("others", "roles", "books", "neither")
      yield* placed()
      yield* expectNotes("others", "books")
      yield* EventBus.publish(new Paid({ id: "1" }))
      yield* expectNotes("others", "mails", "both")
      yield* ship()
      yield* expectNotes("commands", "refunds", "low", "orders", "mails")
    }).pipe(within(backend, Layer.provideMerge(handlers, selected)))
  })

  it.effect("meet a message at its bus, at each try of its handler, and at its consumer", () => {
    const notes: Array<string> = []
    const tell = (at: Interceptor.Place) =>
      Layer.unwrapEffect(
        Effect.map(Ledger, (ledger) => {
          const look = ({ channel, envelope, handler, kind }: Interceptor.Interception, when: string) =>
            Effect.gen(function* () {
              const unit = Option.isSome(yield* Effect.serviceOption(UnitOfWork.UnitOfWork)) ? "in a unit" : "outside"
              const rows = (yield* UnitOfWork.outside(ledger.rows)).length
              notes.push(`${at} ${when} ${kind} ${envelope.tag} ${handler} ${channel} ${unit}, ${rows} rows`)
            })
          return everywhere(
            `tell ${at}`,
            Interceptor.around((handled, interception) =>
              Effect.zipRight(look(interception, "before"), Effect.ensuring(handled, look(interception, "after")))
            ),
            { at }
          )
        })
      )
    let tries = 0
    const trying = Handler.command(Ship, ({ id }) =>
      Effect.zipRight(
        write(`${id} ${++tries}`),
        Effect.suspend(() => (tries < 2 ? Effect.fail("busy") : Effect.void))
      )
    ).pipe(Handler.retry(Schedule.recurs(1)), Handler.asynchronous(Orders))
    const booking = Handler.event(Placed, { name: "Book", handle: () => write("booked") })
    const thanking = Handler.event(Placed, { name: "Thank", handle: () => write("thanked") })
    const finding = Handler.query(CountRows, () => Effect.succeed(1))
    return Effect.gen(function* () {
      yield* ship("a")
      yield* drain
      assert.deepStrictEqual(notes.splice(0), [
        "Bus before Command Ship Ship test/Orders outside, 0 rows",
        "Bus after Command Ship Ship test/Orders outside, 0 rows",
        "Consumer before Command Ship Ship test/Orders outside, 0 rows",
        "Handler before Command Ship Ship test/Orders in a unit, 0 rows",
        "Handler after Command Ship Ship test/Orders in a unit, 0 rows",
        "Handler before Command Ship Ship test/Orders in a unit, 0 rows",
        "Handler after Command Ship Ship test/Orders in a unit, 0 rows",
        "Consumer after Command Ship Ship test/Orders outside, 1 rows"
      ])
      yield* placed()
      assert.deepStrictEqual(notes.splice(0), [
        "Bus before Event Placed undefined undefined outside, 1 rows",
        "Handler before Event Placed Book undefined in a unit, 1 rows",
        "Handler after Event Placed Book undefined in a unit, 1 rows",
        "Handler before Event Placed Thank undefined in a unit, 1 rows",
        "Handler after Event Placed Thank undefined in a unit, 1 rows",
        "Bus after Event Placed undefined undefined outside, 3 rows"
      ])
      yield* UnitOfWork.run(QueryBus.ask(new CountRows()))
      assert.deepStrictEqual(notes.splice(0), [
        "Bus before Query CountRows CountRows undefined in a unit, 3 rows",
        "Handler before Query CountRows CountRows undefined in a unit, 3 rows",
        "Handler after Query CountRows CountRows undefined in a unit, 3 rows",
        "Bus after Query CountRows CountRows undefined in a unit, 3 rows"
      ])
    }).pipe(
      within(
        backend,
        Layer.merge(
          Layer.mergeAll(tell("Bus"), tell("Handler"), tell("Consumer")),
          Handler.layer(trying, booking, thanking, finding)
        )
      )
    )
  })

  it.effect("may reject at a bus and at handlers: the sender hears it, and what was written is undone", () => {
    const guards = Layer.unwrapEffect(
      Effect.map(Ledger, (ledger) =>
        all(
          (["Bus", "Handler"] as const).map((at) =>
            everywhere(
              `guard ${at}`,
              Interceptor.before(({ handler }) =>
                Effect.zipRight(ledger.write(`guarded ${handler} at ${at}`), rejection)
              ),
              { at, select: ({ envelope }) => envelope.headers.guard === at }
            )
          )
        )
      )
    )
    const hears = <A, E, R>(sent: Effect.Effect<A, E, R>) =>
      Effect.map(rejected(sent), (error) => assert.strictEqual(error.detail, rejection.detail))
    const nested = Handler.command(Reserve, ({ id }) => {
      const guard = { headers: { guard: id } }
      return Effect.all([
        hears(UnitOfWork.scope(place("x", guard))),
        hears(UnitOfWork.scope(placed("x", guard))),
        hears(UnitOfWork.scope(QueryBus.ask(new CountRows(), guard))),
        write(`went on after ${id}`)
      ]).pipe(Effect.asVoid)
    })
    const placing = Handler.command(Place, () => Effect.as(write("placed"), ""))
    const booking = Handler.event(Placed, { name: "Book", handle: () => write("booked") })
    const finding = Handler.query(CountRows, () => Effect.succeed(1))
    return Effect.gen(function* () {
      yield* reserve("Bus")
      yield* reserve("Handler")
      yield* hears(ship("a", { headers: { guard: "Bus" } }))
      yield* expectWaiting(0)
      yield* ship("b", { headers: { guard: "Handler" } })
      yield* drain
      assert.include((yield* onlyLetter).error, rejection.detail)
      yield* expectRows("guarded Ship at Bus", "went on after Bus", "went on after Handler") // a bus opens no unit
    }).pipe(within(backend, Layer.merge(guards, Handler.layer(nested, placing, booking, finding, shipping))))
  })

  it.effect("fail at a consumer as its handlers do; what was committed is handled all the same", () => {
    const problem = (reason: "Rejected" | "Unavailable" | "UnitAborted") =>
      new MessagingError.MessagingError({ reason, detail: reason })
    const exits: Array<string> = []
    const logs: Array<string> = []
    const logger = Logger.make(({ message }) => void logs.push(String(message)))
    let tries = 0
    const guard = everywhere(
      "guard",
      Interceptor.around((handled, { envelope, message }) => {
        const first = ++tries === 1
        switch ((message as Ship).id) {
          case "rejected":
            return problem("Rejected")
          case "away":
            return first ? problem("Unavailable") : handled
          case "again":
            return first ? problem("UnitAborted") : handled
          case "too late":
            return Effect.zipRight(handled, problem("Rejected"))
          case "twice":
            return Effect.retry(handled, Schedule.recurs(1))
          default:
            return Effect.onExit(handled, ({ _tag }) => Effect.sync(() => exits.push(`${_tag} ${envelope.attempt}`)))
        }
      }),
      { at: "Consumer" }
    )
    const trying = Handler.command(Ship, ({ id }, { attempt }) =>
      Effect.zipRight(
        write(`${id}, attempt ${attempt}`),
        Effect.suspend(() => (id === "twice" && tries++ === 1 ? Effect.fail("busy") : Effect.void))
      )
    ).pipe(Handler.asynchronous(Orders), Handler.retry(Schedule.recurs(1)))
    return Effect.gen(function* () {
      for (const id of ["away", "again", "too late", "twice", "plain"]) {
        tries = 0
        yield* ship(id)
        yield* Effect.provide(advance("1 minute"), Logger.add(logger))
      }
      assert.deepStrictEqual(
        logs.filter((log) => log.startsWith("An interceptor")),
        ["An interceptor failed when its message had been handled"]
      )
      yield* expectRows(
        ...["away, attempt 1", "again, attempt 2", "too late, attempt 1", "twice, attempt 1", "plain, attempt 1"]
      )
      assert.deepStrictEqual(exits, ["Success 1"])
      assert.deepStrictEqual(yield* letters, [])
      yield* ship("rejected")
      yield* drain
      assert.include((yield* onlyLetter).error, "Rejected")
    }).pipe(within(backend, Layer.merge(guard, Handler.layer(trying))))
  })

  it.effect(
    "see a success when a broker gives out again what was handled, and none of what deduplicate ignores",
    () => {
      const broker = makeBroker()
      const exits: Array<string> = []
      const note = (at: Interceptor.Place) =>
        everywhere(
          `note ${at}`,
          Interceptor.after((exit) => Effect.sync(() => void exits.push(`${at} ${exit._tag}`))),
          { at }
        )
      const shipping = Handler.command(Ship, ({ id }) => write(id)).pipe(
        Handler.deduplicate({ key: () => "one" }),
        Handler.asynchronous(Broker)
      )
      return Effect.gen(function* () {
        yield* ship("a")
        yield* drain
        yield* broker.redeliver
        yield* drain
        assert.deepStrictEqual(exits, ["Handler Success", "Consumer Success", "Consumer Success"])
        assert.strictEqual((yield* MessagingTest.handled(Ship)).length, 1)
        yield* ship("b")
        yield* drain
        assert.deepStrictEqual(exits.splice(3), ["Consumer Success"])
        yield* expectRows("a")
        assert.strictEqual(broker.state.acknowledged.length, 2)
      }).pipe(
        within(
          backend,
          Handler.layer(shipping).pipe(
            Layer.provideMerge(Layer.mergeAll(note("Handler"), note("Consumer"), broker.layer))
          )
        )
      )
    }
  )

  it.effect("meet a message once at its bus, however often a conflict runs its unit again", () => {
    const seen: Array<string> = []
    let runs = 0
    const look = (at: Interceptor.Place) =>
      everywhere(
        at,
        Interceptor.before(({ envelope }) => Effect.sync(() => void seen.push(`${at} ${envelope.tag} ${envelope.id}`))),
        { at }
      )
    const sending = Interceptor.layerSending(({ envelope }) =>
      Effect.sync(() => {
        seen.push(`Sending ${envelope.tag} ${envelope.id}`)
        return {}
      })
    )
    const conflicted = Effect.suspend(() => (++runs % 3 === 0 ? Effect.void : conflicting))
    const booking = Handler.event(Placed, { name: "Book", handle: () => conflicted })
    const placing = Handler.command(Place, () => Effect.as(conflicted, ""))
    const places = ["Sending", "Bus", "Handler", "Handler", "Handler"]
    return Effect.gen(function* () {
      for (const sent of [place(), placed()]) {
        yield* sent
        const id = seen[0]!.split(" ").slice(1).join(" ")
        assert.deepStrictEqual(
          seen.splice(0),
          places.map((at) => `${at} ${id}`)
        )
      }
    }).pipe(within(backend, Layer.mergeAll(look("Bus"), look("Handler"), sending, Handler.layer(booking, placing))))
  })

  it.effect("at a bus meet each send of an idempotency key", () => {
    const notes: Array<string> = []
    const placing = Handler.command(Place, () => Effect.as(write("placed"), "yes"))
    return Effect.gen(function* () {
      assert.strictEqual(yield* place("1", { idempotencyKey: "k" }), "yes")
      assert.strictEqual(yield* place("1", { idempotencyKey: "k" }), "yes")
      assert.deepStrictEqual(notes, ["bus", "bus"])
      yield* expectRows("placed")
    }).pipe(within(backend, Layer.merge(noting(notes, "bus", { at: "Bus" }), Handler.layer(placing))))
  })

  it.effect("add headers to what is sent, once for each message, in the sender's unit of work", () => {
    const seen: Array<string> = []
    const look = (message: object, { endpoint, headers, id }: Envelope.Metadata) =>
      Effect.sync(() => {
        assert.strictEqual(headers.correlationId, headers.causationId ?? id)
        seen.push(
          `${endpoint} ${"id" in message ? message.id : ""} ${headers.number} ${headers.stamp} ${headers.tenant}`
        )
      })
    let sent = 0
    const numbers = Interceptor.layerSending(({ at, envelope, handler }) => {
      assert.strictEqual(at, "Sending")
      const added = { number: String(++sent), stamp: "first", tenant: "acme", correlationId: "forged" }
      return Effect.as(write(`${sent} ${envelope.tag} ${handler}`), added)
    })
    const stamps = Interceptor.layerSending(
      ({ envelope }) => Effect.succeed({ stamp: `after ${envelope.headers.stamp}` }),
      {
        select: Interceptor.kind("Event", "Query")
      }
    )
    const refusals = Interceptor.layerSending(() => rejection, { select: ({ envelope }) => "no" in envelope.headers })
    const no = { headers: { no: "" } }
    const handlers = Handler.layer(
      Handler.command(Place, (message, envelope) => Effect.as(Effect.all([look(message, envelope), ship("c")]), "")),
      Handler.command(Ship, look).pipe(Handler.asynchronous(Orders)),
      Handler.query(CountRows, (message, envelope) => Effect.as(look(message, envelope), 1)),
      Handler.event(Placed, { name: "Book", handle: look }),
      Handler.event(Placed, { name: "Thank", handle: look }).pipe(Handler.asynchronous(Orders)),
      Handler.command(Reserve, () => Effect.zipRight(ship("undone"), refuse()))
    )
    return Effect.gen(function* () {
      yield* place("a", { headers: { tenant: "the sender's" } })
      yield* placed("b")
      yield* QueryBus.ask(new CountRows())
      yield* drain
      assert.deepStrictEqual(seen, [
        "Place a 1 first acme",
        "Book b 3 after first acme",
        "CountRows  4 after first acme",
        "Ship c 2 first acme",
        "Thank b 3 after first acme"
      ])
      yield* expectRefused(reserve())
      for (const refused of [place("x", no), ship("x", no), placed("x", no), QueryBus.ask(new CountRows(), no)]) {
        assert.strictEqual((yield* rejected<unknown, unknown, never>(refused as never)).detail, rejection.detail)
      }
      yield* drain
      assert.strictEqual(seen.length, 5)
      const before = [
        "1 Place Place",
        "2 Ship Ship",
        "3 Placed undefined",
        "4 CountRows CountRows",
        "5 Reserve Reserve"
      ]
      yield* expectRows(...before, "7 Place Place", "8 Ship Ship", "9 Placed undefined", "10 CountRows CountRows")
    }).pipe(
      within(
        backend,
        Layer.provideMerge(handlers, refusals.pipe(Layer.provideMerge(stamps), Layer.provideMerge(numbers)))
      )
    )
  })
}
