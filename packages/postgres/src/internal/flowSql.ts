/** When held messages are due. */
export const far = "timestamptz '9999-12-31 00:00:00+00'"

/** The oldest of the messages that are held by one pause or limit, and whether they have kept their place. */
export const oldestHeld = (at: string, by: string, limit: string): string =>
  `with aside as materialized (
     select id, created_at from ${at}scheduled
     where held_by = ${by} order by created_at, id limit ${limit} for update skip locked
   ), in_place as materialized (
     select id, created_at from ${at}message
     where held_by = ${by} order by created_at, id limit ${limit} for update skip locked
   )
   select id, in_place from (
     select *, false as in_place from aside union all select *, true from in_place
   ) h order by created_at, id limit ${limit}`
