/**
 * Where pictures are made and shown: in memory here; an image library, your storage and your tables in life.
 */
import { Context, Effect, Layer, Ref, Schema } from "effect"

export class Unreadable extends Schema.TaggedError<Unreadable>()("Unreadable", { picture: Schema.String }) {}

/** Makes sizes. It cannot read `broken.png` until it is repaired. */
export class Resizer extends Context.Tag("media/Resizer")<
  Resizer,
  {
    readonly resize: (name: string, width: number) => Effect.Effect<void, Unreadable>
    readonly repair: Effect.Effect<void>
  }
>() {
  static readonly layerMemory = Layer.effect(
    Resizer,
    Effect.map(Ref.make(["broken.png"]), (unreadable) => ({
      resize: (name) =>
        Effect.flatMap(Ref.get(unreadable), (names) =>
          names.includes(name) ? new Unreadable({ picture: name }) : Effect.void
        ),
      repair: Ref.set(unreadable, [])
    }))
  )
}

export interface Account {
  /** What everybody sees, such as `cat.png 200`. */
  readonly gallery: ReadonlyArray<string>
  readonly archive: ReadonlyArray<string>
  readonly inbox: ReadonlyArray<string>
}

const none: Account = { gallery: [], archive: [], inbox: [] }

export class Accounts extends Context.Tag("media/Accounts")<
  Accounts,
  {
    readonly get: (id: string) => Effect.Effect<Account>
    readonly update: (id: string, change: (account: Account) => Partial<Account>) => Effect.Effect<void>
  }
>() {
  static readonly layerMemory = Layer.effect(
    Accounts,
    Effect.map(Ref.make<Record<string, Account>>({}), (accounts) => ({
      get: (id) => Effect.map(Ref.get(accounts), (all) => all[id] ?? none),
      update: (id, change) =>
        Ref.update(accounts, (all) => {
          const account = all[id] ?? none
          return { ...all, [id]: { ...account, ...change(account) } }
        })
    }))
  )
}
