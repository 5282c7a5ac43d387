import { PgClient } from "@effect/sql-pg"
import { PgMessaging } from "@holdfast/postgres"
import { Context, Effect, Layer, Redacted } from "effect"
import { serverUrl } from "../support/database.ts"

/** A scratch database that is dropped with the layer. */
export class Scratch extends Context.Tag("test/postgres/Scratch")<
  Scratch,
  { readonly name: string; readonly url: string; readonly control: PgClient.PgClient }
>() {
  /** `control` looks from outside of everything under test. */
  static readonly layer = Layer.scoped(
    Scratch,
    Effect.gen(function* () {
      const base = new URL(Redacted.value(yield* serverUrl))
      const admin = yield* client(base.href, 1)
      const name = `pgstore_${Math.random().toString(36).slice(2, 10)}`
      yield* Effect.acquireRelease(admin.unsafe(`create database ${name}`), () =>
        Effect.orDie(admin.unsafe(`drop database if exists ${name} with (force)`))
      )
      base.pathname = `/${name}`
      return { name, url: base.href, control: yield* client(base.href, 3) }
    })
  )
}

/** A client with a pool of its own. */
export const client = (url: string, maxConnections: number) =>
  Effect.map(Layer.build(PgClient.layer({ url: Redacted.make(url), maxConnections })), Context.get(PgClient.PgClient))

/** The client below messaging, as a user provides it. */
export const ClientLive = Layer.unwrapEffect(
  Effect.map(Scratch, ({ url }) => PgClient.layer({ url: Redacted.make(url), maxConnections: 6 }))
)

/** Messaging on a scratch database, with a clock that tests can move. */
export const messaging = (options: PgMessaging.Options = {}) =>
  PgMessaging.layerWith({ migrate: true, testing: true, ...options }).pipe(
    Layer.provide(ClientLive),
    Layer.provideMerge(Scratch.layer)
  )
