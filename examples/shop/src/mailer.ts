/**
 * Sends mails through a provider. A provider is outside of the database, so a mail may be asked for more than once: the
 * key it is given makes the provider send it once.
 */
import { UnitOfWork } from "@holdfast/core"
import { Context, Effect, Layer, Ref, Schema } from "effect"
import { tables } from "./schema.ts"

export class MailError extends Schema.TaggedError<MailError>()("MailError", { to: Schema.String }) {
  override get message() {
    return `the provider does not deliver to ${this.to}`
  }
}

export interface Mail {
  readonly to: string
  readonly subject: string
  readonly idempotencyKey: string
}

export class Mailer extends Context.Tag("shop/Mailer")<
  Mailer,
  { readonly send: (mail: Mail) => Effect.Effect<void, MailError> }
>() {
  /**
   * Plays the provider, with tables of its own: which addresses fail (for `failures_left` times, or until repaired), and
   * what was sent. All of it runs outside of the handler's unit of work, as an HTTP call would.
   */
  static readonly layer = Layer.effect(
    Mailer,
    Effect.map(tables, (sql) =>
      Mailer.of({
        send: Effect.fn("Mailer.send")(
          function* ({ idempotencyKey, subject, to }: Mail) {
            const failing = yield* sql`
              update shop.provider_outages set failures_left = failures_left - 1
              where address = ${to} and coalesce(failures_left, 1) > 0 returning address`
            if (failing.length > 0) return yield* new MailError({ to })
            yield* sql`
              insert into shop.provider_mails (idempotency_key, address, subject)
              values (${idempotencyKey}, ${to}, ${subject})
              on conflict (idempotency_key) do update set requests = provider_mails.requests + 1`
          },
          Effect.catchTag("SqlError", Effect.die),
          UnitOfWork.outside
        )
      })
    )
  )
}

/** A stand-in for tests: it remembers what was sent, and fails for the addresses it is told. */
export class MailerTest extends Context.Tag("shop/MailerTest")<
  MailerTest,
  {
    readonly failing: Ref.Ref<ReadonlyArray<string>>
    readonly sent: Ref.Ref<ReadonlyArray<Mail>>
  }
>() {
  static readonly layer: Layer.Layer<Mailer | MailerTest> = Layer.effectContext(
    Effect.gen(function* () {
      const failing = yield* Ref.make<ReadonlyArray<string>>([])
      const sent = yield* Ref.make<ReadonlyArray<Mail>>([])
      const send = Effect.fn("MailerTest.send")(function* (mail: Mail) {
        if ((yield* Ref.get(failing)).includes(mail.to)) return yield* new MailError({ to: mail.to })
        yield* Ref.update(sent, (mails) => [...mails, mail])
      })
      return Context.make(Mailer, { send }).pipe(Context.add(MailerTest, { failing, sent }))
    })
  )
}
