/**
 * What stands for a handler in the requirements of those who need it. Part of `Handler`.
 *
 * @since 0.1.0
 */

/**
 * Stands in the requirements of whoever sends a command or asks a query, and is provided by the layer of the handler:
 * without a handler it does not compile.
 *
 * @example
 * ```ts
 * import { CommandBus, type Handler, Message, type MessagingError } from "@holdfast/core"
 * import type { Effect } from "effect"
 *
 * class Ship extends Message.Command<Ship>()("Ship") {}
 *
 * const ship: Effect.Effect<void, MessagingError.MessagingError, CommandBus.CommandBus | Handler.Handles<"Ship">> =
 *   CommandBus.send(new Ship())
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Handles<in out Tag extends string> {
  readonly _: unique symbol
  readonly tag: Tag
}
