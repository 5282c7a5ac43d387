export * as PgChannel from "./PgChannel.ts"
export * as PgMessageStore from "./PgMessageStore.ts"
export * as PgMessaging from "./PgMessaging.ts"
export * as PgMigrations from "./PgMigrations.ts"
