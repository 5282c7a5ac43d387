/**
 * The life of a picture, as messages and the channels that carry them.
 */
import { Channel, DeadLetter, Message } from "@holdfast/core"
import { Schedule, Schema } from "effect"

const picture = { account: Schema.String, name: Schema.String }
const width = Schema.Int

/** Somebody has sent a picture. */
export class Upload extends Message.Command<Upload>()("Upload", { payload: picture }) {}
/** One of its sizes is to be made. */
export class Resize extends Message.Command<Resize>()("Resize", { payload: { ...picture, width } }) {}
/** A size is to be seen by everybody. */
export class Publish extends Message.Command<Publish>()("Publish", { payload: { ...picture, width } }) {}
/** Nobody is to see the picture any more. */
export class Withdraw extends Message.Command<Withdraw>()("Withdraw", { payload: picture }) {}
/** The original is to be put where storage is cheap. That has time until the night. */
export class Archive extends Message.Command<Archive>()("Archive", { payload: picture }) {}

export class Uploads extends Channel.Tag<Uploads>()("media/Uploads", { messages: [Upload] }) {}
export class Failures extends Channel.Tag<Failures>()("media/Failures", { messages: [DeadLetter.MessageFailed] }) {}

/** Resizing fails now and then. After three tries, `Failures` is told. */
export class Images extends Channel.Tag<Images>()("media/Images", {
  messages: [Resize],
  retry: Schedule.exponential("500 millis").pipe(Schedule.intersect(Schedule.recurs(2))),
  errorChannel: Failures
}) {}

export class Galleries extends Channel.Tag<Galleries>()("media/Galleries", { messages: [Publish, Withdraw] }) {}
export class Night extends Channel.Tag<Night>()("media/Night", { messages: [Archive] }) {}
