import { NodeRuntime } from "@effect/platform-node"
import { Layer } from "effect"
import { Booking } from "./once.ts"

Layer.launch(Booking).pipe(NodeRuntime.runMain)
