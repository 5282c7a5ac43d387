/**
 * Tells the story: a line, and when it happened.
 */
import { Clock, Console, Context, Effect, Layer } from "effect"

export class Narrator extends Context.Tag("shop/demo/Narrator")<
  Narrator,
  {
    readonly tell: (line: string) => Effect.Effect<void>
    /** Something about the line above. */
    readonly explain: (line: string) => Effect.Effect<void>
    readonly seconds: Effect.Effect<number>
  }
>() {
  static readonly layer = Layer.effect(
    Narrator,
    Effect.map(Clock.currentTimeMillis, (start) => {
      const seconds = Effect.map(Clock.currentTimeMillis, (now) => (now - start) / 1_000)
      return Narrator.of({
        tell: (line) =>
          Effect.flatMap(seconds, (elapsed) => Console.log(`${elapsed.toFixed(1).padStart(5)} s  ${line}`)),
        explain: (line) => Console.log(`         ${line}`),
        seconds
      })
    })
  )
}

export const tell = (line: string) => Effect.flatMap(Narrator, (narrator) => narrator.tell(line))

export const explain = (line: string) => Effect.flatMap(Narrator, (narrator) => narrator.explain(line))

export const plural = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`
