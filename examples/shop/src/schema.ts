/**
 * The shop's own tables. Those of Holdfast are made by its migrations.
 */
import { SqlClient } from "@effect/sql"
import { Context, Effect, Layer } from "effect"
import { catalogue } from "./catalogue.ts"

/**
 * Creates the tables, all of them in one transaction. Of processes that start together, one does it; the others wait,
 * and then leave a database alone that customers may be using by now.
 */
export const migrate = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  yield* sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`select pg_advisory_xact_lock(hashtext('shop'))`
      const [{ exists }] = yield* sql<{ exists: boolean }>`select to_regclass('shop.orders') is not null as exists`
      if (exists) return
      for (const statement of statements) yield* sql.unsafe(statement)
      const stock = catalogue.map((product) => ({ ...product, at_first: product.available }))
      yield* sql`insert into shop.stock ${sql.insert(stock)}`
    })
  )
})

/** That the tables are there: what uses them requires it. */
export class Tables extends Context.Tag("shop/Tables")<Tables, void>() {
  static readonly layer = Layer.effect(Tables, migrate)
}

/** The client of whoever uses the tables: there is none before they are. */
export const tables = Effect.zipRight(Tables, SqlClient.SqlClient)

/** Only what identifies is unique. What handlers add is not, so that anything done twice can be seen. */
const statements = [
  `create schema shop`,
  `create table shop.stock (
    sku text primary key, price integer not null, at_first integer not null,
    available integer not null check (available >= 0))`,
  `create sequence shop.order_number`,
  `create table shop.orders (
    order_id text primary key default 'order-' || nextval('shop.order_number'),
    sku text not null references shop.stock, quantity integer not null, total integer not null,
    email text not null, status text not null default 'placed')`,
  `create table shop.history (
    id bigint generated always as identity primary key, order_id text not null, line text not null)`,
  `create index on shop.history (order_id, id)`,
  `create table shop.payments (
    id bigint generated always as identity primary key, order_id text not null, amount integer not null)`,
  `create table shop.sales (sku text primary key, quantity integer not null, revenue integer not null)`,
  `create table shop.picking_list (
    id bigint generated always as identity primary key, order_id text not null, quantity integer not null)`,
  `create table shop.parcels (
    id bigint generated always as identity primary key, order_id text not null, loaded_by text not null)`,
  `create table shop.loading_diary (
    id bigint generated always as identity primary key, order_id text not null, process text not null)`,
  `create table shop.provider_outages (address text primary key, failures_left integer)`,
  `create table shop.provider_mails (
    idempotency_key text primary key, address text not null, subject text not null, requests integer not null default 1)`
]
