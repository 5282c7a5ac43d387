import type { Unit } from "./job.ts"
import type { Measured, Result } from "./measure.ts"
import { median } from "./statistics.ts"

/** The page, in Markdown: first Holdfast beside the best peer and the limit, then every contender of every job. */
export const report = (measured: ReadonlyArray<Measured>, machine: ReadonlyArray<string>, how: string) =>
  [
    "# Benchmarks",
    "",
    "Holdfast beside the job queues that people use on PostgreSQL from Node, and beside bare `pg`, which is the limit. `npm run bench`",
    "wrote this page. Absolute figures belong to the machine below; only the ratios mean something elsewhere.",
    "",
    ...machine.map((line) => `- ${line}`),
    `- ${how}`,
    "",
    "Contenders take turns in every round, each on a database of its own on the same server, with ten connections a process.",
    "Messages are handled in processes of their own, which start cold. Every figure was printed only after the work was checked: all",
    "messages gone, each handled once, each row written and each message sent once. Tables are vacuumed and analysed before each turn.",
    "",
    "## In short",
    "",
    ...table(
      ["job", "Holdfast", "best peer", "bare pg", "Holdfast / best peer", "Holdfast / bare pg"],
      measured.flatMap(summary)
    ),
    "",
    "## Every contender",
    "",
    "The figure is the median of the rounds, with the least and the most. The ratio is Holdfast's to that contender's, the median of",
    "the ratios of each round: over 1 is better where more is better, under 1 where less is (ms, MB).",
    "",
    ...measured.flatMap(section)
  ].join("\n")

const section = ({ job, results }: Measured) => [
  `### ${job.title}`,
  "",
  ...table(
    [
      "contender",
      "messages",
      ...Object.keys(job.figures).flatMap((name) => [heading(name), "Holdfast is"]),
      "settings"
    ],
    results.map((result) => [
      nameOf(result),
      format(result.count, "/s"),
      ...Object.entries(job.figures).flatMap(([name, unit]) => [
        result.failure ?? spread(valuesOf(result, name), unit),
        ratioCell(result, results, name)
      ]),
      result.contender.setting
    ])
  ),
  ""
]

const heading = (name: string) => (name === "rate" ? "figure" : name)

/** Holdfast's ratio to another contender; of a variant, its ratio to the same contender without what it has. */
const ratioCell = (result: Result, results: ReadonlyArray<Result>, name: string) => {
  if (result.contender.variant !== undefined) {
    const plain = results.find((other) => other.contender.name === result.contender.name)!
    return `${ratio(result, plain, name)} of itself without`
  }
  const own = results.find((other) => other.contender.name === "Holdfast")
  return own === undefined || own === result ? "" : ratio(own, result, name)
}

const ratio = (own: Result, other: Result, name: string) => {
  const others = valuesOf(other, name)
  const ratios = valuesOf(own, name)
    .slice(0, others.length)
    .map((value, i) => value / others[i]!)
  return ratios.length === 0 ? "–" : `${median(ratios).toFixed(2)} ×`
}

const summary = ({ job, results }: Measured) =>
  Object.entries(job.figures).flatMap(([name, unit]) => {
    const own = results.filter(({ contender }) => contender.name === "Holdfast")
    return own.map((result) => {
      const rivals = results.filter((other) => isVariant(other) === isVariant(result))
      const bare = rivals.find(({ contender }) => contender.name === "pg")
      const peers = rivals.filter(({ contender, rounds }) => isPeer(contender.name) && rounds.length > 0)
      const best = peers.sort((a, b) => better(unit) * (median(valuesOf(b, name)) - median(valuesOf(a, name))))[0]
      return [
        job.title + (name === "rate" ? "" : `: ${name}`) + variantOf(result),
        shown(result, name, unit),
        best === undefined ? "–" : `${shown(best, name, unit)} (${best.contender.name})`,
        bare === undefined ? "–" : shown(bare, name, unit),
        best === undefined ? "–" : ratio(result, best, name),
        bare === undefined ? "–" : ratio(result, bare, name)
      ]
    })
  })

const isPeer = (name: string) => name !== "Holdfast" && name !== "pg"
const isVariant = ({ contender }: Result) => contender.variant !== undefined
const better = (unit: Unit) => (unit === "ms" || unit === "MB" ? -1 : 1)
const variantOf = ({ contender, count }: Result) =>
  contender.variant === undefined ? "" : `, ${contender.variant(count)}`
const nameOf = (result: Result) => result.contender.name + variantOf(result)
const valuesOf = ({ rounds }: Result, name: string) => rounds.map((figures) => figures[name]!)

const shown = (result: Result, name: string, unit: Unit) =>
  result.rounds.length === 0 ? "failed" : `${format(median(valuesOf(result, name)), unit)} ${unit}`

const spread = (values: ReadonlyArray<number>, unit: Unit) =>
  values.length === 0
    ? "–"
    : `${format(median(values), unit)} ${unit} (${format(Math.min(...values), unit)}–${format(Math.max(...values), unit)})`

const format = (value: number, unit: Unit) =>
  unit === "/s" || unit === "MB" ? Math.round(value).toLocaleString("en") : value.toFixed(unit === "ms" ? 1 : 2)

/** Padded, as the formatter wants Markdown. */
const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>) => {
  const widths = header.map((name, i) => Math.max(name.length, 3, ...rows.map((row) => row[i]!.length)))
  const line = (cells: ReadonlyArray<string>) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`
  return [line(header), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)]
}
