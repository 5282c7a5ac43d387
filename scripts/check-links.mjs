/**
 * Holds the Markdown together: every relative link names a file or folder that is there, every anchor a heading of its page,
 * and `docs/index.md` and `llms.txt` list every page of `docs/`.
 *
 *     node scripts/check-links.mjs [root]
 */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs"
import { join, posix, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { filesIn, lineAt, repository } from "./source.mjs"

const lists = ["docs/index.md", "llms.txt"]
const link = /\[(?:[^\][]|\[[^\]]*\])*\]\(([^()\s]+)\)/g
const blank = (text) => text.replace(/[^\n]/g, " ")

/** The text without its code, at the same length. */
const proseOf = (text) =>
  text.replace(/^ *(`{3,})[\s\S]*?^ *\1 *$/gm, blank).replace(/(`+)(?!`)[^\n]*?[^`\n]\1(?!`)/g, blank)

/** The anchors that GitHub gives the headings of a page: the second of one name has a number. */
const anchorsOf = (text) => {
  const seen = new Map()
  const prose = text.replace(/^ *(`{3,})[\s\S]*?^ *\1 *$/gm, blank)
  return [...prose.matchAll(/^#{1,6} +(.*)$/gm)].map(([, heading]) => {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
    const slug = plain
      .trim()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-")
    const before = seen.get(slug) ?? 0
    seen.set(slug, before + 1)
    return before === 0 ? slug : `${slug}-${before}`
  })
}

const linksOf = (path, text) =>
  [...proseOf(text).matchAll(link)]
    .map(({ 1: to, index }) => ({ to, line: lineAt(text, index) }))
    .filter(({ to }) => !/^[a-z]+:/.test(to))
    .map(({ line, to }) => {
      const [file, anchor] = to.split("#")
      return { path, line, to, anchor, target: file === "" ? path : posix.join(posix.dirname(path), file) }
    })

/** What is wrong with a link, as a sentence, or nothing. */
const faultOf = (root, { anchor, line, path, target, to }) => {
  const at = `${path}:${line}: ${to}`
  if (relative(root, resolve(root, target)).startsWith("..")) return `${at} leads out of the repository.`
  if (!existsSync(join(root, target))) return `${at} leads nowhere.`
  if (anchor === undefined || !target.endsWith(".md") || statSync(join(root, target)).isDirectory()) return undefined
  const anchors = anchorsOf(readFileSync(join(root, target), "utf8"))
  return anchors.includes(anchor) ? undefined : `${at} names no heading of ${target}, which has ${anchors.join(", ")}.`
}

/** Every fault in the links below `root`, and how many links there are. */
export const checkLinks = (root) => {
  const pages = filesIn(root, ".md").filter((path) => !/(?:^|\/)(?:node_modules|dist|\.[^/]+)\//.test(path))
  const links = [...pages, "llms.txt"]
    .filter((path) => existsSync(join(root, path)))
    .flatMap((path) => linksOf(path, readFileSync(join(root, path), "utf8")))
  const listed = (list) => new Set(links.filter(({ path }) => path === list).map(({ target }) => target))
  const due = pages.filter((path) => /^docs\/(?!index\.md$|reference\/.+\/)/.test(path))
  const unlisted = lists.flatMap((list) => {
    const found = listed(list)
    return due.flatMap((path) => (found.has(path) ? [] : [`${list} does not list ${path}.`]))
  })
  return { faults: [...links.flatMap((each) => faultOf(root, each) ?? []), ...unlisted], links: links.length }
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { faults, links } = checkLinks(resolve(process.argv[2] ?? repository))
  for (const fault of faults) console.error(fault)
  console.log(`${links} links, ${faults.length} faults`)
  if (faults.length > 0) process.exitCode = 1
}
