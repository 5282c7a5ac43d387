/**
 * Commands, queries and events, defined as `Schema` classes.
 *
 * A message class is at once the type of its instances, the schema that stores and reads them, and a payload for
 * `HttpApi` and `Rpc`. Its tag is the durable wire name: unique in the system, never renamed.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import type * as AST from "effect/SchemaAST"
import type { Covariant } from "effect/Types"
import { problem } from "./internal/wire.ts"

/**
 * @since 0.1.0
 * @category type ids
 */
export const TypeId: TypeId = "~@holdfast/core/Message"

/**
 * @since 0.1.0
 * @category type ids
 */
export type TypeId = "~@holdfast/core/Message"

/**
 * What a message asks of the system: a command wants one thing done, a query wants an answer, an event states a fact.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * const kind: Message.Kind = Ship.kind // "Command"
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export type Kind = "Command" | "Query" | "Event"

/**
 * A message instance. `A` and `E` are what handling it may yield; `R` is what its schema needs to be encoded.
 *
 * @example
 * ```ts
 * import { CommandBus, Message } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * // any command that answers nothing and declares no error
 * const sendAll = (commands: ReadonlyArray<Message.Message<"Command", "Ship" | "Pack", void, never>>) =>
 *   Effect.forEach(commands, (command) => CommandBus.send(command))
 * sendAll([new Ship()])
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Message<out K extends Kind, out Tag extends string, out A, out E, out R = never> {
  readonly _tag: Tag
  readonly [TypeId]: {
    readonly kind: K
    readonly _A: Covariant<A>
    readonly _E: Covariant<E>
    readonly _R: Covariant<R>
  }
}

/**
 * Any message instance.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 *
 * const describe = (message: Message.Any) => `${message[Message.TypeId].kind} ${message._tag}`
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Any extends Message<Kind, string, any, any, any> {}

/**
 * What handling the message answers.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class GetTotal extends Message.Query<GetTotal>()("GetTotal", { success: Schema.Number }) {}
 *
 * const total: Message.Success<GetTotal> = 30 // number
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Success<M> = M extends Message<infer _K, infer _Tag, infer A, infer _E, infer _R> ? A : never

/**
 * The errors the message declares.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", {}) {}
 * class PlaceOrder extends Message.Command<PlaceOrder>()("PlaceOrder", { error: OutOfStock }) {}
 *
 * const refusal: Message.Error<PlaceOrder> = new OutOfStock() // OutOfStock
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Error<M> = M extends Message<infer _K, infer _Tag, infer _A, infer E, infer _R> ? E : never

/**
 * The services that the message's schema needs.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Context, Effect, Schema } from "effect"
 *
 * class Clock extends Context.Tag("Clock")<Clock, { readonly zone: string }>() {}
 * const Zoned = Schema.transformOrFail(Schema.String, Schema.String, {
 *   decode: (text) => Effect.map(Clock, ({ zone }) => `${text} ${zone}`),
 *   encode: (text) => Effect.succeed(text)
 * })
 * class Booked extends Message.Event<Booked>()("Booked", { payload: { at: Zoned } }) {}
 *
 * type Required = Message.Requirements<Booked> // Clock
 * ```
 *
 * @since 0.1.0
 * @category type-level
 */
export type Requirements<M> = M extends Message<infer _K, infer _Tag, infer _A, infer _E, infer R> ? R : never

/**
 * Reads an older version of a message: any `Schema` from what was sent then to what the class is constructed with now.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const Version1 = Schema.Struct({ cents: Schema.Number })
 * const readVersion1: Message.Upcaster<{ readonly total: number }> = Message.upcaster(Version1, ({ cents }) => ({
 *   total: cents / 100
 * }))
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Upcaster<out A, out R = never> {
  readonly [Schema.TypeId]: unknown
  readonly Type: A
  readonly Context: R
  readonly ast: AST.AST
}

/**
 * The upcasters of a message, by the version that each reads.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const Version1 = Schema.Struct({ cents: Schema.Number })
 * class Paid extends Message.Event<Paid>()("Paid", {
 *   version: 2,
 *   payload: { total: Schema.Number },
 *   upcasters: { 1: Message.upcaster(Version1, ({ cents }) => ({ total: cents / 100 })) }
 * }) {}
 *
 * const versions = Object.keys(Paid.upcasters) // ["1"]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Upcasters<Payload extends Schema.Struct.Fields> {
  readonly [version: number]: Upcaster<Schema.Struct.Constructor<Payload>, Schema.Struct.Context<Payload>>
}

/**
 * The class of a message: its `Schema`, its tag, the schemas of its reply, and its payload as an untagged struct.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship", { payload: { orderId: Schema.String } }) {}
 *
 * Ship.kind // "Command"
 * Ship._tag // "Ship"
 * Schema.decodeUnknownSync(Ship)({ _tag: "Ship", orderId: "A1" }) // a Ship
 * Schema.decodeUnknownSync(Ship.payload)({ orderId: "A1" }) // { orderId: "A1" }
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Class<
  Self,
  K extends Kind,
  Tag extends string,
  Payload extends Schema.Struct.Fields,
  Success extends Schema.Schema.Any,
  Failure extends Schema.Schema.All
> extends Schema.Class<
    Self,
    { readonly _tag: Schema.tag<Tag> } & Payload,
    Schema.Struct.Encoded<{ readonly _tag: Schema.tag<Tag> } & Payload>,
    Schema.Struct.Context<Payload>,
    Schema.Struct.Constructor<Payload>,
    Message<K, Tag, Success["Type"], Failure["Type"], Schema.Struct.Context<Payload>>,
    {}
  > {
  readonly kind: K
  readonly _tag: Tag
  /** Of what is sent now: 1 unless given. */
  readonly version: number
  /** How what was sent of older versions is read: handlers see the current class alone. */
  readonly upcasters: Upcasters<Payload>
  readonly payload: Schema.Struct<Payload>
  readonly success: Success
  readonly error: Failure
  readonly messageAnnotations: Context.Context<never>
}

/**
 * Any message class.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 * class Shipped extends Message.Event<Shipped>()("Shipped") {}
 *
 * const tagsOf = (classes: ReadonlyArray<Message.AnyClass>) => classes.map((each) => each._tag)
 * tagsOf([Ship, Shipped]) // ["Ship", "Shipped"]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyClass extends Schema.Schema.Any {
  readonly kind: Kind
  readonly _tag: string
  readonly version: number
  readonly upcasters: Readonly<Record<number, Upcaster<unknown, unknown>>>
  readonly success: Schema.Schema.Any
  readonly error: Schema.Schema.All
  /**
   * What `annotations` said of the message, for interceptors and tools: empty unless given. It is not called
   * `annotations` because a `Schema` has a method of that name.
   */
  readonly messageAnnotations: Context.Context<never>
}

/**
 * Any command class.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * const commands: ReadonlyArray<Message.AnyCommand> = [Ship]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyCommand extends AnyClass {
  readonly kind: "Command"
}

/**
 * Any query class.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class GetTotal extends Message.Query<GetTotal>()("GetTotal", { success: Schema.Number }) {}
 *
 * const queries: ReadonlyArray<Message.AnyQuery> = [GetTotal]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyQuery extends AnyClass {
  readonly kind: "Query"
}

/**
 * Any event class.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 *
 * class Shipped extends Message.Event<Shipped>()("Shipped") {}
 *
 * const events: ReadonlyArray<Message.AnyEvent> = [Shipped]
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface AnyEvent extends AnyClass {
  readonly kind: "Event"
}

type MissingSelf<Name extends string> =
  `Missing \`Self\` generic - use \`class Self extends Message.${Name}<Self>()("Tag", { ... }) {}\``

/**
 * Defines a command: an order to do one thing, handled by exactly one handler, which may refuse it with a declared
 * error. A command that declares an answer or an error is handled while its sender waits; one that declares neither
 * may also travel a channel.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { orderId: Schema.String }) {}
 *
 * class PlaceOrder extends Message.Command<PlaceOrder>()("PlaceOrder", {
 *   payload: { orderId: Schema.String, total: Schema.Number },
 *   error: OutOfStock
 * }) {}
 *
 * const order = new PlaceOrder({ orderId: "A1", total: 30 })
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Command =
  <Self = never>() =>
  <
    const Tag extends string,
    Payload extends Schema.Struct.Fields = {},
    Success extends Schema.Schema.AnyNoContext = typeof Schema.Void,
    Failure extends Schema.Schema.All & { readonly Context: never } = typeof Schema.Never
  >(
    tag: Tag,
    options?: {
      readonly payload?: Payload
      readonly version?: number
      readonly upcasters?: Upcasters<NoInfer<Payload>>
      readonly success?: Success
      readonly error?: Failure
      readonly annotations?: Context.Context<never>
    }
  ): [Self] extends [never] ? MissingSelf<"Command"> : Class<Self, "Command", Tag, Payload, Success, Failure> =>
    makeClass("Command", tag, options) as any

/**
 * Defines a query: a question that changes nothing, answered by exactly one handler while its sender waits.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class GetTotal extends Message.Query<GetTotal>()("GetTotal", {
 *   payload: { orderId: Schema.String },
 *   success: Schema.Number
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Query =
  <Self = never>() =>
  <
    const Tag extends string,
    Success extends Schema.Schema.AnyNoContext,
    Payload extends Schema.Struct.Fields = {},
    Failure extends Schema.Schema.All & { readonly Context: never } = typeof Schema.Never
  >(
    tag: Tag,
    options: {
      readonly payload?: Payload
      readonly success: Success
      readonly error?: Failure
      readonly annotations?: Context.Context<never>
    }
  ): [Self] extends [never] ? MissingSelf<"Query"> : Class<Self, "Query", Tag, Payload, Success, Failure> =>
    makeClass("Query", tag, options) as any

/**
 * Defines an event: a fact that happened, with any number of handlers. It cannot be refused, so it declares no error.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", { payload: { orderId: Schema.String } }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const Event =
  <Self = never>() =>
  <const Tag extends string, Payload extends Schema.Struct.Fields = {}>(
    tag: Tag,
    options?: {
      readonly payload?: Payload
      readonly version?: number
      readonly upcasters?: Upcasters<NoInfer<Payload>>
      readonly annotations?: Context.Context<never>
    }
  ): [Self] extends [never]
    ? MissingSelf<"Event">
    : Class<Self, "Event", Tag, Payload, typeof Schema.Void, typeof Schema.Never> =>
    makeClass("Event", tag, options) as any

/**
 * An upcaster by a function: reads what was sent as `from`, and makes of it what the class is constructed with now, so
 * that fields with a default may be left out. It only reads; what is sent is always of the current version.
 *
 * Give `from` the fields that the message had then. It needs no `_tag`: what it does not name is ignored. Should the
 * function throw, the message is a dead letter with the error as its cause.
 *
 * @example
 * ```ts
 * import { Message } from "@holdfast/core"
 * import { Schema } from "effect"
 *
 * const OrderPlacedV1 = Schema.Struct({ orderId: Schema.String, cents: Schema.Number })
 *
 * class OrderPlaced extends Message.Event<OrderPlaced>()("OrderPlaced", {
 *   version: 2,
 *   payload: { orderId: Schema.String, total: Schema.Number, currency: Schema.Literal("EUR", "USD") },
 *   upcasters: {
 *     1: Message.upcaster(OrderPlacedV1, ({ cents, orderId }) => ({ orderId, total: cents / 100, currency: "EUR" }))
 *   }
 * }) {}
 * ```
 *
 * @since 0.1.0
 * @category constructors
 */
export const upcaster = <From extends Schema.Schema.Any, const A>(
  from: From,
  f: (old: From["Type"]) => A
): Schema.Schema<A, From["Encoded"], From["Context"]> =>
  Schema.transformOrFail(from as Schema.Schema<any, any, From["Context"]>, Schema.Any as Schema.Schema<A>, {
    decode: (old) => ParseResult.succeed(f(old)),
    encode: (value, _, ast) =>
      ParseResult.fail(new ParseResult.Forbidden(ast, value, "an upcaster reads older messages, and writes none"))
  })

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const makeClass = (
  kind: Kind,
  tag: string,
  options?: {
    readonly payload?: Schema.Struct.Fields
    readonly version?: number
    readonly upcasters?: Readonly<Record<number, Upcaster<unknown, unknown>>>
    readonly success?: Schema.Schema.Any
    readonly error?: Schema.Schema.All
    readonly annotations?: Context.Context<never>
  }
) => {
  const { upcasters = {}, version = 1 } = options ?? {}
  const sentence = problem(tag, version, upcasters)
  if (sentence !== undefined) throw new Error(sentence)
  return class extends taggedClass(tag, options?.payload ?? {}) {
    static readonly kind = kind
    static readonly version = version
    static readonly upcasters = upcasters
    static readonly payload = Schema.Struct(options?.payload ?? {})
    static readonly success = options?.success ?? Schema.Void
    static readonly error = options?.error ?? Schema.Never
    static readonly messageAnnotations = options?.annotations ?? Context.empty()
    get [TypeId]() {
      return { kind }
    }
  }
}

/**
 * As `Schema.TaggedClass`, which takes the tag that it is given out of a copy: what a key was deleted from is slow to
 * copy again, and every message that is decoded comes with its tag.
 */
const taggedClass = (tag: string, payload: Schema.Struct.Fields) => {
  const { fields } = Schema.TaggedClass<any>()(tag, payload)
  const schema = Schema.extend(Schema.Struct(payload), Schema.Struct({ _tag: Schema.tag(tag) }))
  return class extends Schema.Class<any>(tag)(Object.assign(schema, { fields }) as unknown as Schema.Struct<any>) {
    static readonly _tag = tag
    constructor(props: any = {}, options?: any) {
      super(props._tag === tag ? props : { ...props, _tag: tag }, options)
    }
  }
}
