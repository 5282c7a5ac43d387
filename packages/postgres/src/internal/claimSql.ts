/** Expired leases, oldest first: their consumers were lost. */
export const expired = (at: string, channel: string, now: string): string =>
  `select id from ${at}message
   where channel = ${channel} and lease_until is not null and lease_until <= ${now}
   order by lease_until limit 1000 for update skip locked`

/**
 * Scheduled messages whose time has come: more than one claim takes, so that the most urgent is among them. Those with
 * an ordering key only for the claim that is `alone` at it, or it could pass what another has not committed yet.
 */
export const due = (at: string, channel: string, now: string, alone: string): string =>
  `select id from ${at}scheduled
   where channel = ${channel} and due_at <= ${now} and (ordering_key is null or ${alone})
   order by due_at, id limit 1000 for update skip locked`

/** The next messages to hand out, of those without an ordering key. */
export const next = (at: string, channel: string, limit: string): string =>
  `select id from ${at}message
   where channel = ${channel} and lease_until is null and ordering_key is null
   order by priority desc, id limit ${limit} for update skip locked`
