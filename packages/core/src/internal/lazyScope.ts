import * as Effect from "effect/Effect"
import type * as ExecutionStrategy from "effect/ExecutionStrategy"
import type * as Exit from "effect/Exit"
import { pipeArguments } from "effect/Pipeable"
import * as Scope from "effect/Scope"

/**
 * A scope that costs nothing until somebody uses it. `state` is what Effect looks at when it forks a fiber in a scope.
 *
 * @internal
 */
export class LazyScope implements Scope.Scope {
  readonly [Scope.ScopeTypeId]: Scope.ScopeTypeId = Scope.ScopeTypeId
  /** The scope, if it was used: it is to be closed. */
  used: Scope.CloseableScope | undefined

  private get scope(): Scope.CloseableScope {
    if (this.used === undefined) this.used = Effect.runSync(Scope.make())
    return this.used
  }

  get strategy(): ExecutionStrategy.ExecutionStrategy {
    return this.scope.strategy
  }

  get state(): unknown {
    return (this.scope as unknown as { readonly state: unknown }).state
  }

  fork(strategy: ExecutionStrategy.ExecutionStrategy): Effect.Effect<Scope.CloseableScope> {
    return Scope.fork(this.scope, strategy)
  }

  addFinalizer(finalizer: (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<unknown>): Effect.Effect<void> {
    return Scope.addFinalizerExit(this.scope, finalizer)
  }

  pipe() {
    return pipeArguments(this, arguments)
  }
}
