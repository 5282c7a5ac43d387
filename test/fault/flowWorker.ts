import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import { Worker } from "./flowApp.ts"

Layer.launch(Worker).pipe(NodeRuntime.runMain)
