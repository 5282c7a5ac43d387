/**
 * What messaging promises, whatever keeps the messages.
 */
import { describe } from "@effect/vitest"
import type { Backend } from "./backend.ts"
import { badInput } from "./badInput.ts"
import { chains, severalCommands } from "./chains.ts"
import { consumers, shutdown, unknownEndpoints } from "./consumers.ts"
import { contexts, fibers } from "./contexts.ts"
import { corners } from "./corners.ts"
import { deadLetters, infrastructure, limits } from "./deadLetters.ts"
import { deduplication } from "./deduplication.ts"
import { direct } from "./direct.ts"
import { brokersErrors, errorChannels } from "./errorChannels.ts"
import { durableRetries, events } from "./events.ts"
import { byTag, defaultErrorChannel, endings, outages } from "./failures.ts"
import { circuits, limits as flowLimits, flowPauses } from "./flow.ts"
import { idempotency } from "./idempotency.ts"
import { inOneCall } from "./inOneCall.ts"
import { interceptions } from "./interceptions.ts"
import { interceptors } from "./interceptors.ts"
import { journal } from "./journal.ts"
import { leases } from "./leases.ts"
import { metrics } from "./metrics.ts"
import { operators } from "./operators.ts"
import { orchestrators } from "./orchestrators.ts"
import { ordering } from "./ordering.ts"
import { pausing } from "./pausing.ts"
import { policies } from "./policies.ts"
import { prefetch, together } from "./prefetch.ts"
import { queries } from "./queries.ts"
import { registration } from "./registration.ts"
import { conflicts, retriesInPlace } from "./retries.ts"
import { schedules, stopConditions } from "./running.ts"
import { sagas } from "./sagas.ts"
import { scopes } from "./scopes.ts"
import { headers, options } from "./sending.ts"
import { logging, spans } from "./telemetry.ts"
import { timeouts } from "./timeouts.ts"
import { combined } from "./together.ts"
import { afterCommit, unitOfWork } from "./unitOfWork.ts"
import { upcasting } from "./upcasting.ts"
import { versions } from "./versions.ts"
import { wiring } from "./wiring.ts"

export const suites = <R>(backend: Backend<R>): void => {
  describe("a unit of work", () => unitOfWork(backend))
  describe("what runs after the commit", () => afterCommit(backend))
  describe("nested scopes", () => scopes(backend))
  describe("retries in place", () => retriesInPlace(backend))
  describe("conflicts", () => conflicts(backend))
  describe("sends with an idempotency key", () => idempotency(backend))
  describe("direct channels", () => direct(backend))
  describe("a handler", () => contexts(backend))
  describe("interceptors of a handler", () => interceptors(backend))
  describe("interceptors of many messages", () => interceptions(backend))
  describe("fibers", () => fibers(backend))
  describe("chained handlers", () => chains(backend))
  describe("a handler of several commands", () => severalCommands(backend))
  describe("error channels", () => {
    errorChannels(backend)
    brokersErrors(backend)
    defaultErrorChannel(backend)
  })
  describe("a query", () => queries(backend))
  describe("versions of a message", () => upcasting(backend))
  describe("versions side by side", () => versions(backend))
  describe("asynchronous handlers of an event", () => events(backend))
  describe("durable retries", () => durableRetries(backend))
  describe("retries by error", () => byTag(backend))
  describe("outages", () => outages(backend))
  describe("messages that are given up", () => endings(backend))
  describe("deduplication", () => deduplication(backend))
  describe("policies of a handler", () => policies(backend))
  describe("ordering keys", () => ordering(backend))
  describe("dead letters", () => deadLetters(backend))
  describe("operators", () => operators(backend))
  describe("failing infrastructure", () => infrastructure(backend))
  describe("limits", () => limits(backend))
  describe("is told as a mistake:", () => registration(backend))
  describe("is refused:", () => badInput(backend))
  describe("sagas", () => sagas(backend))
  describe("timeouts", () => timeouts(backend))
  describe("orchestrators", () => orchestrators(backend))
  describe("consumers", () => consumers(backend))
  describe("a consumer of quick handlers", () => prefetch(backend))
  describe("a consumer commits together", () => together(backend))
  describe("consumers with a schedule", () => schedules(backend))
  describe("a consumer stops after", () => stopConditions(backend))
  describe("a pause", () => pausing(backend))
  describe("a pause of handlers and tenants", () => flowPauses(backend))
  describe("flow control, replays and ends together:", () => combined(backend))
  describe("rate and concurrency limits", () => flowLimits(backend))
  describe("a circuit", () => circuits(backend))
  describe("wiring:", () => wiring(backend))
  describe("leases", () => leases(backend))
  describe("shutdown", () => shutdown(backend))
  describe("unknown endpoints", () => unknownEndpoints(backend))
  describe("sending:", () => options(backend))
  describe("many in one call:", () => inOneCall(backend))
  describe("corners:", () => corners(backend))
  describe("headers", () => headers(backend))
  describe("spans", () => spans(backend))
  describe("the log", () => logging(backend))
  describe("metrics", () => metrics(backend))
  describe("the journal", () => journal(backend))
}
