/**
 * Starting a server, or finding the one that runs.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { poll } from "./attempt.ts"
import * as Binaries from "./binaries.ts"
import * as Cluster from "./cluster.ts"
import { end, isServing } from "./command.ts"
import type { Directory } from "./directory.ts"
import { EmbeddedPostgresError } from "./error.ts"
import * as PidFile from "./pidFile.ts"
import * as Postmaster from "./postmaster.ts"
import { ask, urlOf } from "./session.ts"

/** What decides how a server runs. */
export interface Settings {
  readonly port: number | undefined
  readonly durable: boolean
  readonly keep: boolean
  readonly settings: Record<string, string>
}

/** A server that answers. */
export interface Running {
  readonly pid: number
  readonly port: number
  readonly password: Redacted.Redacted<string>
  readonly reused: boolean
}

/** Another process holds the data: a server that starts, stops, or was killed and is not buried yet. */
class Busy {
  readonly _tag = "Busy"
}

/** Attaches to the server of a directory, or starts one that stops with the scope. */
export const attachOrStart = Effect.fnUntraced(function* (
  directory: Directory,
  settings: Settings
): Effect.fn.Return<Running, EmbeddedPostgresError, Scope.Scope> {
  const attached = yield* attach(directory, settings)
  if (Option.isSome(attached)) {
    return attached.value
  }
  const binaries = yield* Binaries.forUser(directory.user)
  yield* Cluster.ensure(directory, binaries, settings.durable)
  return yield* Effect.flatMap(
    attach(directory, settings),
    Option.match({
      onSome: Effect.succeed,
      onNone: () => start(directory, binaries, settings)
    })
  ).pipe(
    Effect.retry({
      while: (error) => error._tag === "Busy",
      schedule: Schedule.intersect(Schedule.spaced("50 millis"), Schedule.upTo(Schedule.forever, "5 seconds"))
    }),
    Effect.catchTag("Busy", () => Effect.flatMap(holder(directory), Effect.fail))
  )
})

/** Stops the server of a directory. True when there was one. */
export const stop = Effect.fnUntraced(function* (
  directory: Directory
): Effect.fn.Return<boolean, EmbeddedPostgresError> {
  const found = yield* PidFile.read(directory.data)
  if (Option.isNone(found) || !(yield* isServing(found.value.pid, directory.data))) {
    return false
  }
  if (!(yield* end(found.value.pid))) {
    const detail = `The server with pid ${found.value.pid} does not stop.`
    return yield* new EmbeddedPostgresError({ reason: "StopFailed", detail })
  }
  return true
})

// Postgres trusts a pid file whose pid lives, and after a restart of the machine that may be any program
const holder = Effect.fnUntraced(function* ({ data }: Directory) {
  const found = yield* PidFile.read(data)
  if (Option.isNone(found)) {
    return new EmbeddedPostgresError({ reason: "InUse", detail: `Other servers on ${data} come and go.` })
  }
  const { pid } = found.value
  const detail = (yield* isServing(pid, data))
    ? `The server with pid ${pid} holds ${data} and does not answer.`
    : `${data}/postmaster.pid names the process ${pid}, which is another program: delete that file and start again.`
  return new EmbeddedPostgresError({ reason: "InUse", detail })
})

const attach = Effect.fnUntraced(function* (directory: Directory, settings: Settings) {
  const starting = Effect.flatMap(
    PidFile.read(directory.data),
    Option.match({
      onNone: () => Effect.succeedSome(Option.none<PidFile.PidFile>()),
      onSome: (found) =>
        Effect.map(isServing(found.pid, directory.data), (serving) =>
          !serving ? Option.some(Option.none()) : found.isReady ? Option.some(Option.some(found)) : Option.none()
        )
    })
  )
  const found = Option.flatten(yield* poll(starting, Postmaster.patience))
  if (Option.isNone(found)) {
    return Option.none<Running>()
  }
  const { pid, port } = found.value
  const password = yield* Cluster.password(directory)
  const url = urlOf({ port, password, username: Cluster.username, host: "127.0.0.1", database: "postgres" })
  const answer = yield* Effect.option(ask<{ data: string }>(url, "select current_setting('data_directory') as data"))
  // the port of a server that is gone may belong to another one by now
  if (Option.isNone(answer) || answer.value[0]?.data.replaceAll("\\", "/") !== directory.data.replaceAll("\\", "/")) {
    return Option.none<Running>()
  }
  yield* agree(directory, settings, port)
  return Option.some<Running>({ pid, port, password, reused: true })
})

// a server that runs cannot change what it was started with, and to ignore an option would be worse than to refuse
const agree = Effect.fnUntraced(function* (directory: Directory, settings: Settings, port: number) {
  const wanted = [
    ...(settings.durable ? Postmaster.durability(true) : []),
    ...Object.entries(settings.settings).map(([name, value]) => `${name}=${value}`)
  ]
  const samePort = settings.port === undefined || settings.port === port
  if (!samePort || !(yield* PidFile.hasArguments(directory.data, wanted))) {
    const detail = `A server of ${directory.data} runs on port ${port} with another \`port\`, \`durable\` or \`settings\`.`
    return yield* new EmbeddedPostgresError({ reason: "InUse", detail })
  }
})

const start = Effect.fnUntraced(function* (directory: Directory, binaries: Binaries.Binaries, settings: Settings) {
  const kept = yield* Ref.make(false)
  const port = settings.port ?? (yield* Postmaster.freePort)
  const { child, offset } = yield* Effect.acquireRelease(
    Postmaster.spawn(directory, binaries, [
      ...["listen_addresses=127.0.0.1", `port=${port}`, "unix_socket_directories=", "max_connections=100"],
      ...Postmaster.durability(settings.durable),
      ...Object.entries(settings.settings).map(([name, value]) => `${name}=${value}`)
    ]),
    ({ child }) =>
      Effect.unlessEffect(
        end(child.pid!),
        Effect.map(Ref.get(kept), (keep) => keep || Postmaster.hasExited(child))
      )
  )
  const ready = yield* Postmaster.untilReady(child, directory)
  if (Option.isNone(ready)) {
    const said = yield* Postmaster.saidSince(directory, offset)
    return yield* Effect.fail(refusal(said, port, settings.port !== undefined))
  }
  const password = yield* Cluster.password(directory)
  yield* Ref.set(kept, settings.keep)
  return { pid: ready.value.pid, port: ready.value.port, password, reused: false }
})

const refusal = (said: string, port: number, isFixed: boolean): EmbeddedPostgresError | Busy => {
  if (/lock file .* already exists|pre-existing shared memory block/.test(said)) {
    return new Busy()
  }
  if (/could not bind|Address already in use/.test(said)) {
    return isFixed ? new EmbeddedPostgresError({ reason: "InUse", detail: `Port ${port} is taken.` }) : new Busy()
  }
  const detail = `PostgreSQL did not become ready: ${said.trim()}`
  return new EmbeddedPostgresError({ reason: "StartFailed", detail })
}
