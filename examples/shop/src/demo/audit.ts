/**
 * Reads the tables with plain SQL, and compares them with what was asked for over HTTP. It believes nobody.
 */
import { SqlClient, type SqlError, type Statement } from "@effect/sql"
import { Effect } from "effect"

export interface Finding {
  readonly claim: string
  /** How many rows were looked at. */
  readonly looked: number
  /** The rows that say otherwise. */
  readonly against: ReadonlyArray<object>
}

/** `paid` and `unpaid` are the orders of the demo, by what its customers did. */
export const audit = Effect.fn("audit")(function* (orders: {
  readonly paid: ReadonlyArray<string>
  readonly unpaid: ReadonlyArray<string>
}) {
  const sql = yield* SqlClient.SqlClient
  const { paid, unpaid } = orders
  const expected = sql`case when order_id in ${sql.in(paid)} then 'shipped' else 'cancelled' end`
  return yield* Effect.all([
    check("orders are known, as many as were placed", {
      looked: sql`select count(*) from shop.orders`,
      against: sql`select count(*) from shop.orders having count(*) <> ${paid.length + unpaid.length}`
    }),
    check("orders are in their right end state: shipped if paid, else cancelled", {
      looked: sql`select count(*) from shop.orders`,
      against: sql`select order_id, status from shop.orders where status <> ${expected}`
    }),
    check("effects in the orders' histories: all that belong there, each once", {
      looked: sql`select count(*) from shop.history`,
      against: sql`
        select order_id, array_agg(line order by line) from shop.history group by order_id
        having array_agg(line order by line) <> (
          select array_agg(line order by line) from (
            select unnest(array['placed', 'confirmed', 'on the picking list', 'in the sales figures'] ||
              case when order_id in ${sql.in(paid)} then array['paid', 'shipped'] else array['cancelled'] end) as line
          ) as lines)`
    }),
    check("payments, parcels and picking lines: one for each order that should have one", {
      looked: sql`select (select count(*) from shop.payments) + (select count(*) from shop.parcels)
        + (select count(*) from shop.picking_list) as count`,
      against: sql`
        select order_id from shop.orders o
        where (select count(*) from shop.payments where order_id = o.order_id) <> (order_id in ${sql.in(paid)})::int
          or (select count(*) from shop.parcels where order_id = o.order_id) <> (order_id in ${sql.in(paid)})::int
          or (select count(*) from shop.picking_list where order_id = o.order_id) <> 1`
    }),
    check("products whose sales and stock add up to the last piece", {
      looked: sql`select count(*) from shop.stock`,
      against: sql`
        with ordered as (
          select sku, sum(quantity) as quantity, sum(total) as total,
            coalesce(sum(quantity) filter (where status = 'cancelled'), 0) as returned
          from shop.orders group by sku
        )
        select sku from ordered full join shop.sales s using (sku) join shop.stock t using (sku)
        where s.quantity is distinct from ordered.quantity or s.revenue is distinct from ordered.total
          or t.available <> t.at_first - ordered.quantity + ordered.returned`
    }),
    check("confirmations, one for each order", {
      looked: sql`select count(*) from shop.provider_mails`,
      against: sql`
        select order_id from shop.orders o
        where (select count(*) from shop.provider_mails m
          where m.address = o.email and m.subject = 'Your ' || o.order_id) <> 1`
    }),
    check("sagas, all completed", {
      looked: sql`select count(*) from holdfast.saga`,
      against: sql`select id, state from holdfast.saga where not completed`
    }),
    check("messages, timers and dead letters are left", {
      looked: sql`select count(*) from (${left(sql)}) as left_over`,
      against: left(sql)
    })
  ])
})

/** What Holdfast still has to do, or was given up. */
export const left = (sql: SqlClient.SqlClient) =>
  sql`
    select 'message' as kind, tag, endpoint from holdfast.waiting
    union all select 'scheduled', tag, endpoint from holdfast.scheduled
    union all select 'dead letter', tag, endpoint from holdfast.dead_letter`

// -----------------------------------------------------------------------------
// internal
// -----------------------------------------------------------------------------

interface Queries {
  /** Counts the rows that the claim is about. */
  readonly looked: Statement.Statement<object>
  /** Finds those for which it does not hold. */
  readonly against: Statement.Statement<object>
}

const check = (claim: string, { against, looked }: Queries): Effect.Effect<Finding, SqlError.SqlError> =>
  Effect.zipWith(looked, against, ([row], rows) => ({
    claim,
    looked: Number(Object.values(row ?? {})[0]),
    against: rows
  }))
