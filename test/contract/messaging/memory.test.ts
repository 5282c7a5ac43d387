import { describe } from "@effect/vitest"
import { memory } from "./backend.ts"
import { suites } from "./suites.ts"

describe("messaging, memory", () => suites(memory))
