import { NodeRuntime } from "@effect/platform-node"
import { Paying } from "./once.ts"

Paying.pipe(NodeRuntime.runMain)
