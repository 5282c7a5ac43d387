/**
 * One kind of write as a piece of the statement: its tables, its parameters, and how many rows it must have found.
 *
 * @internal
 */
export interface Part {
  readonly name: string
  readonly params: ReadonlyArray<unknown>
  /** The pieces of the WITH; `$` gives the part's own parameters, from 1. */
  readonly sql: (at: string, $: (index: number) => string) => ReadonlyArray<string>
  readonly result: string | undefined
  readonly expected: number | undefined
  readonly otherwise: "LeaseLost" | "Conflict"
  readonly detail: string
}

/** @internal */
export const count = (table: string): string => `(select count(*) from ${table})`

/** @internal */
export const leaseLost = {
  otherwise: "LeaseLost",
  detail: "The lease on the message ran out before its unit of work was committed"
} as const

/** @internal */
export const keyTaken = {
  otherwise: "LeaseLost",
  detail: "The claim on the idempotency key was lost: its lease ran out and somebody else has taken it"
} as const

/** @internal */
export const conflict = (detail: string) => ({ otherwise: "Conflict", detail }) as const

/**
 * A part that always succeeds.
 *
 * @internal
 */
export const unchecked = { result: undefined, expected: undefined, ...conflict("") } as const
