import { describe } from "@effect/vitest"
import { postgres } from "./backend.ts"
import { callersTransaction, databases } from "./databases.ts"
import { interceptorsSql } from "./interceptors.ts"
import { sqlScopes, sqlUnits } from "./sql.ts"
import { suites } from "./suites.ts"

describe("messaging, PostgreSQL", () => {
  suites(postgres)
  describe("nested scopes with SQL", () => sqlScopes(postgres))
  describe("interceptors with SQL", () => interceptorsSql(postgres))
  describe("units with SQL", () => sqlUnits(postgres))
  describe("the caller's own transaction", () => callersTransaction(postgres))
  describe("two databases:", () => databases(postgres))
})
