import { mergeConfig } from "vitest/config"
import config from "./vitest.config.ts"

/** Plans on tables of a million rows: minutes, so they are not among the tests of every commit. */
export default mergeConfig(
  { ...config, test: { ...config.test, include: [] } },
  { test: { include: ["test/plans/**/*.plan.ts"], testTimeout: 900_000, hookTimeout: 120_000 } }
)
