import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Any } from "../Handler.ts"
import type { SagaRow } from "../MessageStore.ts"
import { MessagingError } from "../MessagingError.ts"
import { SagaStore } from "../SagaStore.ts"
import { problemOf } from "./handlerInput.ts"

/** @internal */
export type Piece =
  | { readonly _tag: "Step"; readonly step: Any }
  | {
      readonly _tag: "Plan"
      readonly steps: ReadonlyArray<Any>
      readonly choose: (value: any) => Effect.Effect<ReadonlyArray<string>, any, any>
    }

/** @internal */
export interface Definition {
  readonly name: string
  readonly input: Schema.Schema.AnyNoContext
  readonly pieces: ReadonlyArray<Piece>
}

/** What waits to be done: a step by its name, or a plan that is not made yet, by its place among the plans. */
const Next = Schema.Union(Schema.Struct({ step: Schema.String }), Schema.Struct({ plan: Schema.Number }))

/**
 * An instance as it is stored. `value` is what the step `from` gave, or the input. When a step failed with its declared
 * error, it is still the first of those that remain. `hop` counts the messages sent to move the instance: only the last
 * one does.
 */
const State = Schema.Struct({
  _tag: Schema.Literal("Orchestrator"),
  status: Schema.Literal("Running", "Completed", "Failed"),
  hop: Schema.Number,
  from: Schema.optional(Schema.String),
  value: Schema.optional(Schema.Unknown),
  error: Schema.optional(Schema.Unknown),
  done: Schema.Array(Schema.String),
  remaining: Schema.Array(Next)
})

/** @internal */
export type State = typeof State.Type

/** @internal */
export const stepsOf = ({ pieces }: Definition): ReadonlyArray<Any> =>
  pieces.flatMap((piece) => (piece._tag === "Step" ? [piece.step] : piece.steps))

/** @internal */
export const stepOf = (definition: Definition, id: string, name: string): Effect.Effect<Any, MessagingError> => {
  const step = stepsOf(definition).find((step) => step.name === name)
  return step === undefined
    ? rejected(`${definition.name} "${id}" needs step "${name}", which the orchestrator does not have: put it back`)
    : Effect.succeed(step)
}

/** Why the orchestrator cannot be registered. @internal */
export const mistakeOf = (definition: Definition): string | undefined => {
  const steps = stepsOf(definition)
  const twice = steps.find((step, index) => steps.findIndex((_) => _.name === step.name) < index)
  return twice === undefined
    ? steps.map(problemOf).find((problem) => problem !== undefined)
    : `Orchestrator ${definition.name} has two steps named "${twice.name}": names are durable, so each has its own`
}

/** An instance before its first step. @internal */
export const firstState = (definition: Definition, hop: number, value: unknown): State => {
  const plans = definition.pieces.filter((piece) => piece._tag === "Plan")
  return {
    _tag: "Orchestrator",
    status: "Running",
    hop,
    value,
    done: [],
    remaining: definition.pieces.map((piece) =>
      piece._tag === "Step" ? { step: piece.step.name } : { plan: plans.indexOf(piece) }
    )
  }
}

/** Stages the instance with the unit of work at hand. @internal */
export const save = (
  definition: Definition,
  id: string,
  version: number,
  state: State
): Effect.Effect<void, MessagingError, SagaStore> =>
  Effect.gen(function* () {
    const sagas = yield* SagaStore
    const text = yield* Effect.try({
      try: () => JSON.stringify(state),
      catch: (cause) =>
        rejected(`what ${definition.name} "${id}" has to keep is not JSON: let its schemas encode it`, cause)
    })
    const completed = state.status !== "Running"
    yield* sagas.put({ saga: definition.name, id, version, state: text, completed, timers: {} })
  })

/** @internal */
export const decodeState = (
  definition: Definition,
  row: Pick<SagaRow, "id" | "state">
): Effect.Effect<State, MessagingError> =>
  Effect.mapError(Schema.decode(Schema.parseJson(State))(row.state), (cause) =>
    rejected(`"${row.id}" is not stored as an instance of orchestrator ${definition.name}`, cause)
  )

/** What the last step gave. @internal */
export const decodeValue = (definition: Definition, id: string, state: State): Effect.Effect<any, MessagingError> =>
  Effect.flatMap(
    state.from === undefined
      ? Effect.succeed(definition.input)
      : Effect.map(stepOf(definition, id, state.from), (step) => step.messages[0]!.success),
    (schema) => decodeWith(schema, state.value, `what ${state.from ?? "the start"} gave to ${definition.name} "${id}"`)
  )

/**
 * The result: what the last step gave, if the orchestrator as it is now may end with that. An instance ends with the
 * steps it has stored.
 *
 * @internal
 */
export const decodeResult = (definition: Definition, id: string, state: State): Effect.Effect<any, MessagingError> =>
  Effect.filterOrElse(
    decodeValue(definition, id, state),
    (value) => value === undefined || resultsOf(definition).some((schema) => Schema.is(schema)(value)),
    () =>
      rejected(
        `${definition.name} "${id}" ended with what ${state.from ?? "the start"} gave, which is no result any more`
      )
  )

/** A step gets nothing that it does not take, though other steps were before it when the instance began. @internal */
export const fits = (step: Any, value: unknown, what: string): Effect.Effect<void, MessagingError> =>
  Effect.mapError(Effect.asVoid(Schema.validate(inputOf(step))(value)), (cause) =>
    rejected(`${what} was given a value that its schema refuses`, cause)
  )

/** The error with which a failed instance ended. @internal */
export const decodeError = (definition: Definition, id: string, state: State): Effect.Effect<any, MessagingError> =>
  Effect.flatMap(stepOf(definition, id, namesOf(state)[0] ?? ""), (step) =>
    decodeWith(step.messages[0]!.error, state.error, `the error that ended ${definition.name} "${id}"`)
  )

/** Those of the steps to come that are known. @internal */
export const namesOf = (state: State): ReadonlyArray<string> =>
  state.remaining.flatMap((next) => ("step" in next ? [next.step] : []))

/** @internal */
export const encodeWith = (
  schema: Schema.Schema.All,
  value: unknown,
  what: string
): Effect.Effect<unknown, MessagingError> =>
  Effect.mapError(Schema.encode(schema as Schema.Schema<unknown>)(value), (cause) => rejected(what, cause))

/** @internal */
export const rejected = (detail: string, cause?: unknown): MessagingError =>
  new MessagingError(cause === undefined ? { reason: "Rejected", detail } : { reason: "Rejected", detail, cause })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const inputOf = (step: Any): Schema.Schema<unknown> => step.messages[0]! as any

const outputOf = (step: Any): Schema.Schema<unknown> => step.messages[0]!.success

/** What an orchestrator may end with, but for nothing: an empty plan passes the value on. */
const resultsOf = ({ input, pieces }: Definition): ReadonlyArray<Schema.Schema<unknown>> => {
  const last = pieces.at(-1)
  if (last === undefined) return [input]
  return last._tag === "Step"
    ? [outputOf(last.step)]
    : [...last.steps.slice(0, 1).map(inputOf), ...last.steps.map(outputOf)]
}

const decodeWith = (schema: Schema.Schema.All, value: unknown, what: string): Effect.Effect<unknown, MessagingError> =>
  Effect.mapError(Schema.decodeUnknown(schema as Schema.Schema<unknown>)(value), (cause) =>
    rejected(`${what} does not fit its schema: make the schema read old values`, cause)
  )
