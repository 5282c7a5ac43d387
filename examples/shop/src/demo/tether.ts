/**
 * Loaded into each process of the demo, so that none is left when the demo itself is killed: its end of the pipe closes.
 */
process.stdin.on("close", () => process.kill(process.pid, "SIGTERM")).resume()
