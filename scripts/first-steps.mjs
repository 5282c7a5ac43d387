/**
 * Does what docs/first-steps.md tells its reader to do: writes the files it shows, runs the commands it gives, and finds the
 * lines it promises. `npm run packages` calls it, with the packages packed where the page has them.
 *
 * How the page is read: a line that is only a path in backquotes names the file that the block below it is. An `sh` block is
 * commands. A block without a language is what the commands above it print, among other lines. `^C` in it is where the reader
 * presses Ctrl-C; the lines after it are those of the next run of the same command.
 */
import { spawn } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { delimiter, dirname, join } from "node:path"
import { repository } from "./source.mjs"

const block = /^(?:`([^`\n]+)`\n\n)?```(.*)\n([\s\S]*?)^```$/gm
const lines = (text) => text.split("\n").flatMap((line) => line.trim() || [])

/** The runs that an output block tells of: the lines of each, and whether Ctrl-C ends it. */
const runsOf = (text) => {
  const [last, ...interrupted] = text.split(/^\^C$/m).map(lines).reverse()
  const runs = interrupted.reverse().map((promised) => ({ promised, interrupted: true }))
  return last.length === 0 ? runs : [...runs, { promised: last, interrupted: false }]
}

/** What the page has its reader do, in order, and the blocks that are none of it. */
export const stepsOf = (page) => {
  const steps = []
  const faults = []
  for (const [, path, language, text] of page.matchAll(block)) {
    const before = steps.at(-1)
    if (path !== undefined) steps.push({ path, text })
    else if (language === "sh") steps.push({ commands: text.trim(), runs: [{ promised: [], interrupted: false }] })
    else if (language === "" && before?.commands !== undefined) before.runs = runsOf(text)
    else faults.push(`The block that begins with "${lines(text)[0]}" is no file, no command and no output of one`)
  }
  return { steps, faults }
}

const environment = () => {
  const { DATABASE_URL: _, PATH, ...rest } = process.env
  const own = PATH.split(delimiter).filter((folder) => !folder.startsWith(repository)) // npm puts ours in front
  const npm = { ignore_scripts: true, audit: false, fund: false, prefer_offline: true, loglevel: "error" }
  const configured = Object.entries(npm).map(([name, value]) => [`npm_config_${name}`, String(value)])
  return { ...rest, ...Object.fromEntries(configured), NO_COLOR: "1", PATH: own.join(delimiter) }
}

const missing = (promised, said) => {
  const printed = new Set(lines(said))
  return promised.filter((line) => !printed.has(line))
}

/** Runs commands in a process group of their own, and says what is wrong with how it went and in which folder they ended. */
const run = (cwd, commands, { interrupted, promised }, limit) =>
  new Promise((resolve) => {
    const child = spawn("sh", ["-e", "-c", `${commands}\npwd -P >&3`], {
      ...{ cwd, detached: true, env: environment(), stdio: ["ignore", "pipe", "pipe", "pipe"] }
    })
    const signal = (name) => {
      try {
        process.kill(-child.pid, name)
      } catch {
        // the whole group has ended
      }
    }
    let said = ""
    let folder = ""
    let pressed = false
    let late = false
    const timer = setTimeout(() => {
      late = true
      signal("SIGKILL")
    }, limit)
    const hear = (chunk) => {
      said += chunk
      if (!interrupted || pressed || missing(promised, said).length > 0) return
      pressed = true
      signal("SIGINT")
    }
    child.stdout.setEncoding("utf8").on("data", hear)
    child.stderr.setEncoding("utf8").on("data", hear)
    child.stdio[3].setEncoding("utf8").on("data", (chunk) => (folder += chunk))
    child.on("close", (code) => {
      clearTimeout(timer)
      const faults = [
        ...missing(promised, said).map((line) => `did not print "${line}"`),
        ...(late ? [`did not end within ${limit / 1000} s${pressed ? " after Ctrl-C" : ""}`] : []),
        ...(late || pressed || code === 0 ? [] : [`ended with ${code}`])
      ]
      resolve({ faults: faults.length === 0 ? [] : [...faults, said.trim()], folder: folder.trim() || cwd })
    })
  })

const titleOf = (commands, { interrupted, promised }) => {
  const command = commands.replace(/ \\\n\s*/g, " ").replaceAll("\n", "; ")
  if (promised.length === 0) return command
  return `${command}, and prints what the page promises${interrupted ? " before Ctrl-C" : ""}`
}

/**
 * Follows the page from an empty folder `checkout` on and stops at the first fault; `report` is told each thing that was done.
 * The commands that pack the packages are not run again: the page must give those in `packing`, which were.
 */
export const followPage = async ({ checkout, limit = 120_000, packing, page }, report) => {
  const { faults, steps } = stepsOf(page)
  report("every block is a file, commands or their output", faults)
  let folder = checkout
  mkdirSync(checkout)
  for (const { commands, path, runs, text } of steps) {
    if (path !== undefined) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    } else if (commands.includes("npm pack")) {
      const differs =
        commands === packing.join("\n") ? [] : [`The page has\n${commands}\nand not\n${packing.join("\n")}`]
      report("packs the packages as CI does", differs)
    } else {
      for (const each of runs) {
        const done = await run(folder, commands, each, limit)
        report(titleOf(commands, each), done.faults)
        if (done.faults.length > 0) return folder
        folder = done.folder
      }
    }
  }
  return folder
}
