import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  resolve: {
    alias: [
      {
        find: /^@holdfast\/(core|postgres|embedded)$/,
        replacement: `${fileURLToPath(new URL("./packages", import.meta.url))}/$1/src/index.ts`
      },
      {
        find: /^@holdfast\/(core|postgres|embedded)\/(\w+)$/,
        replacement: `${fileURLToPath(new URL("./packages", import.meta.url))}/$1/src/$2.ts`
      }
    ]
  },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    globalSetup: ["test/support/server.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
