/**
 * What runs again inside the runtime: retries in place, and units whose commit met a conflict.
 */
import { assert, it } from "@effect/vitest"
import { CommandBus, Envelope, Handler, Message, MessagingError, Saga, UnitOfWork } from "@holdfast/core"
import { Deferred, Effect, Ref, Schedule, Schema } from "effect"
import type { Backend } from "./backend.ts"
import {
  conflicting,
  defect,
  drain,
  expectRefused,
  expectRows,
  expectShipped,
  letters,
  Orders,
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
  shipped,
  within,
  write
} from "./fixtures.ts"

const shipping = Handler.command(Ship, () => Effect.void).pipe(Handler.asynchronous(Orders))

/** Answers how often it was run so far: 1 the first time. */
const counter = () => {
  let count = 0
  return { next: Effect.sync(() => ++count), count: () => count }
}

class Add extends Message.Command<Add>()("Add", { payload: { id: Schema.String } }) {}

export const retriesInPlace = <R>(backend: Backend<R>): void => {
  it.effect("begin in a fresh unit: nothing of the failed ones is left", () => {
    const { next } = counter()
    const placing = Handler.command(Place, () =>
      Effect.gen(function* () {
        const attempt = yield* next
        yield* write(`attempt ${attempt}`)
        yield* ship(`attempt ${attempt}`)
        return attempt < 3 ? yield* refuse() : `at attempt ${attempt}`
      })
    ).pipe(Handler.retry(Schedule.recurs(5)))
    return Effect.gen(function* () {
      assert.strictEqual(yield* place(), "at attempt 3")
      yield* expectRows("attempt 3")
      yield* expectShipped("attempt 3")
    }).pipe(within(backend, Handler.layer(placing, shipping)))
  })

  it.effect("end with the last error when the schedule ends", () => {
    const { count, next } = counter()
    const placing = Handler.command(Place, () =>
      Effect.flatMap(next, (attempt) => Effect.zipRight(write(`${attempt}`), refuse(`${attempt}`)))
    ).pipe(Handler.retry(Schedule.recurs(2)))
    return Effect.gen(function* () {
      yield* expectRefused(place(), "3")
      assert.strictEqual(count(), 3)
      yield* expectRows()
    }).pipe(within(backend, Handler.layer(placing)))
  })

  it.effect("begin at the scope's start when nested: the caller keeps what it wrote", () => {
    const { next } = counter()
    const reserving = Handler.command(Reserve, () =>
      Effect.flatMap(next, (attempt) =>
        Effect.zipRight(
          Effect.zipRight(write(`nested ${attempt}`), ship(`nested ${attempt}`)),
          attempt < 3 ? refuse() : Effect.void
        )
      )
    ).pipe(Handler.retry(Schedule.recurs(5)))
    const placing = Handler.command(Place, () =>
      Effect.as(Effect.all([write("before"), ship("before"), reserve(), write("after")]), "")
    )
    return Effect.gen(function* () {
      yield* place()
      yield* expectRows("before", "nested 3", "after")
      yield* expectShipped("before", "nested 3")
    }).pipe(within(backend, Handler.layer(placing, reserving, shipping)))
  })

  it.effect("are not for defects", () => {
    const { count, next } = counter()
    const placing = Handler.command(Place, () => Effect.zipRight(next, Effect.dieMessage("bug"))).pipe(
      Handler.retry(Schedule.recurs(5))
    )
    return Effect.gen(function* () {
      assert.strictEqual(yield* defect(place()), "bug")
      assert.strictEqual(count(), 1)
    }).pipe(within(backend, Handler.layer(placing)))
  })

  it.effect("are of each synchronous event handler alone", () => {
    const [first, second] = [counter(), counter()]
    const handler = (name: string, count: ReturnType<typeof counter>, failures: number) =>
      Handler.event(Placed, {
        name,
        handle: () =>
          Effect.flatMap(count.next, (attempt) =>
            Effect.zipRight(
              write(`${name} ${attempt}`),
              attempt <= failures
                ? new MessagingError.MessagingError({ reason: "Unavailable", detail: "away" })
                : Effect.void
            )
          )
      }).pipe(Handler.retry(Schedule.recurs(3)))
    return Effect.gen(function* () {
      yield* placed()
      yield* expectRows("first 3", "second 1")
    }).pipe(within(backend, Handler.layer(handler("first", first, 2), handler("second", second, 0))))
  })
}

const Sum = Saga.make("Sum", { state: Schema.Number }).pipe(
  Saga.startOn(Add, { id: (_) => _.id, handle: () => Effect.succeed(1) })
)

export const conflicts = <R>(backend: Backend<R>): void => {
  it.effect("run the unit again, in a fresh one, until it commits", () =>
    Effect.gen(function* () {
      const meeting = yield* Deferred.make<void>()
      const arrived = yield* Ref.make(0)
      const { count, next } = counter()
      const sum = Sum.pipe(
        Saga.on(Add, {
          id: (_) => _.id,
          handle: (state) =>
            Effect.gen(function* () {
              const run = yield* next
              yield* write(`run ${run}`)
              yield* ship(`run ${run}`)
              // the first two read the same state before either commits
              if ((yield* Ref.updateAndGet(arrived, (n) => n + 1)) === 2) yield* Deferred.succeed(meeting, undefined)
              yield* Deferred.await(meeting)
              return state + 1
            })
        })
      )
      const add = CommandBus.send(new Add({ id: "a" }))
      yield* Effect.gen(function* () {
        yield* add
        yield* Effect.all([add, add], { concurrency: "unbounded" })
        const state = yield* Saga.get(sum, "a")
        assert.strictEqual(state._tag === "Some" ? state.value.state : undefined, 3)
        assert.strictEqual(count(), 3)
        const rows = yield* shipped
        assert.strictEqual(rows.length, 2, "one of each committed run")
      }).pipe(within(backend, Handler.layer(sum, shipping)))
    })
  )

  it.effect("are bounded: then the unit fails with Conflict, and nothing was written", () => {
    const { count, next } = counter()
    return Effect.gen(function* () {
      const error = yield* rejected(UnitOfWork.run(Effect.all([next, write("a"), ship("a"), conflicting])))
      assert.strictEqual(error.reason, "Conflict")
      assert.strictEqual(count(), 6)
      yield* expectRows()
      yield* expectShipped()
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("are not what the handler itself fails with", () => {
    const { count, next } = counter()
    const conflict = new MessagingError.MessagingError({ reason: "Conflict", detail: "mine" })
    return Effect.gen(function* () {
      const error = yield* rejected(UnitOfWork.run(Effect.zipRight(next, conflict)))
      assert.strictEqual(error.detail, "mine")
      assert.strictEqual(count(), 1)
    }).pipe(within(backend, Handler.layer(shipping)))
  })

  it.effect("leave the attempt of an asynchronous message as it is", () => {
    const attempts: Array<number> = []
    const { next } = counter()
    const stubborn = Handler.command(Ship, () =>
      Effect.gen(function* () {
        attempts.push((yield* Envelope.CurrentEnvelope).attempt)
        if ((yield* next) < 4) yield* conflicting
        yield* write("done")
      })
    ).pipe(Handler.asynchronous(Orders))
    return Effect.gen(function* () {
      yield* ship()
      yield* drain
      assert.deepStrictEqual(attempts, [1, 1, 1, 1])
      yield* expectRows("done")
      assert.deepStrictEqual(yield* letters, [])
    }).pipe(within(backend, Handler.layer(stubborn)))
  })
}
