import type { Lease } from "@holdfast/core/MessageStore"

/** The key of a message in `queue`: its priority is part of where it is. Those in `message` have their id alone. */
export const queuedKey = (priority: string, id: string): string => `q${priority}:${id}`

/** Whether the message is in `queue`, under a lease that it may share with others. */
export const isQueued = ({ key }: Pick<Lease, "key">): boolean => key.charCodeAt(0) === 113

/** The message's id. */
export const idOf = ({ key }: Pick<Lease, "key">): string => key.slice(key.indexOf(":") + 1)

/** The priority of a message in `queue`. */
export const priorityOf = ({ key }: Pick<Lease, "key">): string => key.slice(1, key.indexOf(":"))

/** Numbers as the text of an array: nothing in it needs quoting. */
export const numbers = (values: ReadonlyArray<string | number>): string => `{${values.join(",")}}`

/** The leases that messages share, each once. */
export const shared = (leases: ReadonlyArray<Lease>): ReadonlyArray<Lease> => {
  const once = new Map<string, Lease>()
  for (const lease of leases) once.set(`${lease.token} ${lease.channel}`, lease)
  return Array.from(once.values()).sort((self, that) => Number(self.token) - Number(that.token))
}
