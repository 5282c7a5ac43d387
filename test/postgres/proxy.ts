import * as net from "node:net"
import { Effect } from "effect"

/** What the proxy does to a COMMIT: passes it on and loses the answer, or loses it altogether. */
export type Fault = "none" | "loseAnswer" | "loseCommit"

/** A TCP proxy before PostgreSQL that cuts a connection at its COMMIT. */
export const proxy = (url: string) =>
  Effect.acquireRelease(
    Effect.async<{ readonly url: string; readonly arm: (fault: Fault) => void; readonly close: () => void }>(
      (resume) => {
        let fault: Fault = "none"
        const target = new URL(url)
        const server = net.createServer((downstream) => {
          const upstream = net.connect({ host: target.hostname, port: Number(target.port || 5432) })
          const cut = () => {
            downstream.destroy()
            upstream.destroy()
          }
          downstream.on("data", (data) => {
            if (fault === "none" || !data.includes("COMMIT")) return upstream.write(data)
            if (fault === "loseAnswer") upstream.write(data)
            fault = "none"
            upstream.removeAllListeners("data")
            upstream.on("data", () => {})
            return setTimeout(cut, 30)
          })
          upstream.on("data", (data) => downstream.write(data))
          for (const [a, b] of [
            [downstream, upstream],
            [upstream, downstream]
          ] as const) {
            a.on("error", () => {}).on("close", () => b.destroy())
          }
        })
        server.listen(0, "127.0.0.1", () => {
          const through = new URL(url)
          through.port = String((server.address() as net.AddressInfo).port)
          resume(
            Effect.succeed({
              url: through.href,
              arm: (next) => {
                fault = next
              },
              close: () => server.close()
            })
          )
        })
      }
    ),
    ({ close }) => Effect.sync(close)
  )
