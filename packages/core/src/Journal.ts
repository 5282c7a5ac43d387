/**
 * The journal: what happened to each message, written in the unit of work in which it happened.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Input from "./internal/input.ts"
import { type JournalPolicy, type JournalQuery, type JournalRow, MessageStore } from "./MessageStore.ts"
import type { MessagingError } from "./MessagingError.ts"

/**
 * What is written down of channels that do not say it themselves, and of what is handled while its sender waits:
 * `"Failures"` unless another is provided. See `MessageStore.JournalPolicy`.
 *
 * @example
 * ```ts
 * import { Journal, MessageBus } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Buses = MessageBus.layer.pipe(Layer.provide(Layer.succeed(Journal.DefaultPolicy, "All")))
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class DefaultPolicy extends Context.Reference<DefaultPolicy>()("@holdfast/core/Journal/DefaultPolicy", {
  defaultValue: (): JournalPolicy => "Failures"
}) {}

/**
 * Some lines of the journal, and what to search on after.
 *
 * @example
 * ```ts
 * import type { Journal } from "@holdfast/core"
 *
 * const isLast = (page: Journal.Page) => page.next === undefined
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Page {
  readonly rows: ReadonlyArray<JournalRow>
  /** To be given as `after`; absent when there was no more. */
  readonly next: string | undefined
}

/**
 * A message, what happened to it, and the messages that its handlers made.
 *
 * @example
 * ```ts
 * import type { Journal } from "@holdfast/core"
 *
 * const show = ({ children, tag }: Journal.Node, indent = ""): string =>
 *   [`${indent}${tag}`, ...children.map((child) => show(child, `${indent}  `))].join("\n")
 * ```
 *
 * @since 0.1.0
 * @category models
 */
export interface Node {
  readonly id: string
  readonly tag: string
  /** Oldest first. */
  readonly rows: ReadonlyArray<JournalRow>
  readonly children: ReadonlyArray<Node>
}

/**
 * Reads the journal. What was not written down, since the policy of its channel said so or it is older than the
 * journal's retention, is not there.
 *
 * @example
 * ```ts
 * import { Journal } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const whatHappened = (messageId: string) =>
 *   Effect.gen(function* () {
 *     const journal = yield* Journal.Journal
 *     const rows = yield* journal.ofMessage(messageId)
 *     return rows.map(({ attempt, endpoint, error, event }) => ({ event, endpoint, attempt, error }))
 *   })
 * ```
 *
 * @since 0.1.0
 * @category context
 */
export class Journal extends Context.Tag("@holdfast/core/Journal")<
  Journal,
  {
    /** What happened to a message, for all its handlers, oldest first: 1,000 lines at most. */
    readonly ofMessage: (id: string) => Effect.Effect<ReadonlyArray<JournalRow>, MessagingError>
    /** What happened in a conversation, oldest first: 1,000 lines at most. Search with the id for more. */
    readonly ofCorrelation: (correlationId: string) => Effect.Effect<ReadonlyArray<JournalRow>, MessagingError>
    /**
     * A page of what matches, newest first unless `order` says otherwise. With an `id` or a `correlationId`, or from one
     * time to another, it reads little; a rare endpoint or tag is looked for through all that time.
     */
    readonly search: (query?: JournalQuery) => Effect.Effect<Page, MessagingError>
  }
>() {}

/**
 * The journal of the store.
 *
 * @example
 * ```ts
 * import { Journal, MessageStore } from "@holdfast/core"
 * import { Layer } from "effect"
 *
 * const Journals = Journal.layer.pipe(Layer.provide(MessageStore.layerMemory))
 * ```
 *
 * @since 0.1.0
 * @category layers
 */
export const layer: Layer.Layer<Journal, never, MessageStore> = Layer.effect(
  Journal,
  Effect.map(MessageStore, (store) =>
    Journal.of({
      ofMessage: (id) => store.journal({ id, order: "OldestFirst", limit: 1_000 }),
      ofCorrelation: (correlationId) => store.journal({ correlationId, order: "OldestFirst", limit: 1_000 }),
      search: (query = {}) => {
        const limit = query.limit ?? 100
        return Input.reject(
          Input.wholeNumber("the limit", limit, 1),
          Input.instant("since", query.since),
          Input.instant("until", query.until),
          isKey(query.after) ? undefined : `"${query.after}" is no place in the journal: give a page's next`
        ).pipe(
          // one more tells whether there is another page
          Effect.zipRight(store.journal({ order: "NewestFirst", ...query, limit: limit + 1 })),
          Effect.map((found) => {
            const rows = found.slice(0, limit)
            return { rows, next: found.length > limit ? rows.at(-1)!.key : undefined }
          })
        )
      }
    })
  )
)

/**
 * The lines of a conversation as trees: each message under the one whose handler made it, in the order in which they
 * first appear. A message whose maker is not among the lines is a root.
 *
 * @example
 * ```ts
 * import { Journal } from "@holdfast/core"
 * import { Effect } from "effect"
 *
 * const roots = (correlationId: string) =>
 *   Effect.flatMap(Journal.Journal, (journal) => Effect.map(journal.ofCorrelation(correlationId), Journal.trees))
 * ```
 *
 * @since 0.1.0
 * @category combinators
 */
export const trees = (rows: ReadonlyArray<JournalRow>): ReadonlyArray<Node> => {
  const nodes = new Map<string, { id: string; tag: string; rows: Array<JournalRow>; children: Array<Node> }>()
  for (const row of rows) {
    const node = nodes.get(row.id)
    if (node === undefined) nodes.set(row.id, { id: row.id, tag: row.tag, rows: [row], children: [] })
    else node.rows.push(row)
  }
  const roots: Array<Node> = []
  for (const node of nodes.values()) {
    const maker = nodes.get(node.rows[0]!.causationId ?? "")
    if (maker === undefined || maker === node) roots.push(node)
    else maker.children.push(node)
  }
  return roots
}

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

const isKey = (key: string | undefined): boolean => key === undefined || /^-?\d{1,17}-\d{1,18}$/.test(key)
