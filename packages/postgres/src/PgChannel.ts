/**
 * Channels kept in PostgreSQL, in the same transaction as everything else a handler does.
 *
 * @since 0.1.0
 */
import * as Channel from "@holdfast/core/Channel"
import type * as Message from "@holdfast/core/Message"
import type * as Layer from "effect/Layer"

/**
 * Keeps the channel's messages in the tables of `PgMessaging`: what is sent on it becomes visible if and only if the
 * unit that sent it commits.
 *
 * @example
 * ```ts
 * import { Channel } from "@holdfast/core"
 * import { PgChannel } from "@holdfast/postgres"
 *
 * class Orders extends Channel.Tag<Orders>()("shop/Orders") {}
 *
 * const OrdersLive = PgChannel.layer(Orders)
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = <Self, Name extends string, M extends Message.AnyClass>(
  tag: Channel.TagClass<Self, Name, M>
): Layer.Layer<Self> => Channel.layerStored(tag, "postgres")
