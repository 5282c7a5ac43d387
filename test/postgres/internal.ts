/**
 * The internals under test. These paths lead into another project, where the compiler rewrites no extension.
 */
export * as claimSql from "../../packages/postgres/src/internal/claimSql.js"
export { makeCommitter } from "../../packages/postgres/src/internal/committer.js"
export * as Database from "../../packages/postgres/src/internal/database.js"
export { classify, isInfrastructure, toMessagingError } from "../../packages/postgres/src/internal/errors.js"
export * as flowSql from "../../packages/postgres/src/internal/flowSql.js"
export { sweep } from "../../packages/postgres/src/internal/janitor.js"
export { channelsOf, payloadOf } from "../../packages/postgres/src/internal/notify.js"
export * as orderSql from "../../packages/postgres/src/internal/orderSql.js"
export { quote } from "../../packages/postgres/src/internal/quote.js"
export { collect } from "../../packages/postgres/src/internal/staged.js"
export { compose } from "../../packages/postgres/src/internal/write.js"
export { partsOf } from "../../packages/postgres/src/internal/writeParts.js"
