/**
 * What the types refuse of interceptors, with the wording.
 */
import { Channel, Handler, Interceptor, MessageBus } from "@holdfast/core"
import { Effect, Layer } from "effect"
import { MailError, mail, OrderPlaced, OrdersChannel, ShipOrder, Tick } from "./fixtures.ts"
import { Audit, Auth, CurrentUser, fulfilment, Gate, Guard, Unauthorized, Users } from "./interceptors.ts"

// -----------------------------------------------------------------------------
// what an interceptor does
// -----------------------------------------------------------------------------

// @refused "Missing `Self` generic - use `class Self extends Interceptor.Tag<Self>()(\"key\", { ... }) {}`"
class Nameless extends Interceptor.Tag()("shop/Nameless") {}

// It provides what its tag says.
// @refused Type 'void' is not assignable to type '{ readonly id: string; }'
Layer.succeed(
  Auth,
  Interceptor.before(() => Effect.void)
)

// @refused Type 'void' is not assignable to type '{ readonly id: string; }'
Layer.succeed(
  Auth,
  Interceptor.after(() => Effect.void)
)

// @refused Type 'void' is not assignable to type '{ readonly id: string; }'
Layer.succeed(
  Auth,
  Interceptor.around((handled) => handled)
)

// It fails with what its tag says.
// @refused Type 'MailError' is not assignable to type 'Unauthorized'
Layer.succeed(
  Auth,
  Interceptor.before(() => Effect.fail(new MailError({ cause: "none" })))
)

// @refused Type 'Unauthorized' is not assignable to type 'never'
Layer.succeed(
  Audit,
  Interceptor.before(() => Effect.fail(new Unauthorized()))
)

// @refused Type 'Unauthorized' is not assignable to type 'never'
Interceptor.after(() => Effect.fail(new Unauthorized()))

// It makes up no answer.
// @refused Type 'number' is not assignable to type 'Answer'
Interceptor.around((handled) => Effect.orElseSucceed(handled, () => 1))

// @refused Type 'void' is not assignable to type 'Answer'
Interceptor.around((handled) => Effect.asVoid(handled))

// Its own services are its layer's.
// @refused "An interceptor runs with the services of its layer: take them with Layer.effect, and make it there"
Interceptor.before(() => CurrentUser)

// @refused "An interceptor runs with the services of its layer: take them with Layer.effect, and make it there"
Interceptor.after(() => Effect.asVoid(CurrentUser))

// @refused "An interceptor runs with the services of its layer: take them with Layer.effect, and make it there"
Interceptor.around((handled) => Effect.zipRight(CurrentUser, handled))

// -----------------------------------------------------------------------------
// around a handler
// -----------------------------------------------------------------------------

const shipping = Handler.command(ShipOrder, () => Effect.asVoid(CurrentUser)).pipe(Handler.intercept(Auth))

// @refused "The handler of ShipOrder fails with Unauthorized, which ShipOrder does not declare"
Handler.layer(shipping)

// @refused "A handler of Tick fails with Denied, which its publisher cannot see: catch it, or add Handler.asynchronous"
Handler.layer(Handler.event(Tick, { name: "OnTick", handle: () => Effect.void }).pipe(Handler.intercept(Guard)))

// Nothing is refused behind a channel.
Handler.layer(
  shipping.pipe(Handler.asynchronous(OrdersChannel)),
  mail.pipe(Handler.asynchronous(OrdersChannel), Handler.intercept(Guard))
)

// @refused "A saga has timeouts, which need a channel: add Handler.asynchronous"
Handler.layer(fulfilment.pipe(Handler.intercept(Audit)))

// -----------------------------------------------------------------------------
// around many
// -----------------------------------------------------------------------------

// @refused "shop/Users provides a service, of which the handlers it would meet do not know: use Handler.intercept"
Interceptor.layer(Users, { at: "Handler" })

// @refused "shop/Auth provides a service, of which the handlers it would meet do not know: use Handler.intercept"
Interceptor.layer(Auth, { at: "Bus" })

// @refused "shop/Guard fails with Denied, which not all messages declare: fail with MessagingError, or use Handler.intercept"
Interceptor.layer(Guard, { at: "Consumer" })

// @refused Type '"Sending"' is not assignable to type 'Place'
Interceptor.layer(Gate, { at: "Sending" })

// @refused Type '"1"' is not assignable to type '"causationId is set by the runtime"'
Interceptor.layerSending(() => Effect.succeed({ causationId: "1" }))

// @refused Type 'Unauthorized' is missing the following properties from type 'MessagingError'
Interceptor.layerSending(() => Effect.fail(new Unauthorized()))

// @refused Type 'Auth' is not assignable to type 'never'
Layer.launch(
  Handler.layer(shipping.pipe(Handler.asynchronous(OrdersChannel))).pipe(
    Layer.provide(MessageBus.layerMemory),
    Layer.provide(Channel.layerMemory(OrdersChannel))
  )
).pipe(Effect.runPromise)

// @refused '"Gadget"' is not assignable to parameter of type 'Kind'
Interceptor.kind("Gadget")

// @refused Type 'typeof Unauthorized' is missing the following properties from type 'AnyClass'
Interceptor.message(Unauthorized)

export { Nameless, OrderPlaced }
