/**
 * @since 0.1.0
 */

/**
 * A real PostgreSQL for development, tests and demos, from binaries that npm installs.
 *
 * @since 0.1.0
 * @category modules
 */
export * as EmbeddedPostgres from "./EmbeddedPostgres.ts"
