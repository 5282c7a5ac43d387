import type { Effect, Scope } from "effect"

/** What a run measured, by the name of the figure. */
export type Figures = Readonly<Record<string, number>>

/** Messages a second, milliseconds, megabytes, or a ratio. */
export type Unit = "/s" | "ms" | "MB" | "x"

/**
 * One side of a comparison. `setup` is called once, on an empty database of its own; `fill`, `run` and `check` once a
 * round. Only `run` is measured, and `check` gives the figures: it dies when the work was not done, or done twice.
 */
export interface Contender<Ready = any, Ran = any> {
  readonly name: string
  readonly setting: string
  /** What makes it differ from the contender of the same name that has none. */
  readonly variant?: (count: number) => string
  /** The part of the job's messages that it gets: less than 1 for one that would take minutes. */
  readonly share: number
  readonly setup: (url: string, count: number) => Effect.Effect<Ready, never, Scope.Scope>
  readonly fill: (ready: Ready, count: number) => Effect.Effect<void, never, Scope.Scope>
  readonly run: (ready: Ready, count: number) => Effect.Effect<Ran, never, Scope.Scope>
  readonly check: (ran: Ran, ready: Ready, count: number) => Effect.Effect<Figures, never, Scope.Scope>
}

/** A comparison. `usual` is the part of `size` that is measured unless the command line says `--full`. */
export interface Job {
  readonly name: string
  readonly title: string
  readonly size: number
  readonly usual: number
  readonly figures: Readonly<Record<string, Unit>>
  readonly contenders: ReadonlyArray<Contender>
}

export const contender = <Ready, Ran>(self: Contender<Ready, Ran>): Contender => self
