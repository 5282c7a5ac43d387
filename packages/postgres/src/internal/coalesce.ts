import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Runtime from "effect/Runtime"

/** How many statements are on their way at once. */
const lanes = 2

/** How many questions one statement asks. */
const most = 500

interface Waiting<Q, A, E> {
  readonly question: Q
  readonly done: (answer: Exit.Exit<A, E>) => void
}

/**
 * Asks together what is asked at once: questions that come while others are on their way wait, and leave together in the
 * next statement. One that comes alone waits for nobody. If those of a statement fail for what one of them asks, each is
 * asked alone.
 *
 * @internal
 */
export const coalesce = <Q, A, E>(
  askAll: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, E>,
  isOnes: (error: E) => boolean
): Effect.Effect<(question: Q) => Effect.Effect<A, E>> =>
  Effect.map(Effect.runtime<never>(), (runtime) => {
    const waiting: Array<Waiting<Q, A, E>> = []
    let busy = 0
    const lane: Effect.Effect<void> = Effect.suspend(() => {
      const group = waiting.splice(0, most)
      if (group.length > 0) return Effect.zipRight(askGroup(askAll, isOnes, group), lane)
      busy--
      return Effect.void
    })
    return (question) =>
      Effect.async((done) => {
        waiting.push({ question, done })
        if (busy === lanes) return
        busy++
        // not at once: those who are about to come in this turn leave with it
        Runtime.runFork(runtime, lane, { immediate: false })
      })
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const askGroup = <Q, A, E>(
  askAll: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, E>,
  isOnes: (error: E) => boolean,
  group: ReadonlyArray<Waiting<Q, A, E>>
): Effect.Effect<void> =>
  Effect.matchCauseEffect(askAll(group.map(({ question }) => question)), {
    onSuccess: (answers) =>
      Effect.sync(() => {
        for (let place = 0; place < group.length; place++) group[place]!.done(Exit.succeed(answers[place]!))
      }),
    onFailure: (cause) => {
      if (group.length > 1 && cause._tag === "Fail" && isOnes(cause.error)) {
        return Effect.forEach(group, (one) => askGroup(askAll, isOnes, [one]), { discard: true })
      }
      return Effect.sync(() => {
        for (const { done } of group) done(Exit.failCause(cause))
      })
    }
  })
