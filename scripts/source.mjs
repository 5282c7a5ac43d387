/** What the checks know about a source file: which files there are, and what in them is code, comment or text. */
import { existsSync, readdirSync } from "node:fs"
import { join, sep } from "node:path"
import { fileURLToPath } from "node:url"

/** The repository these scripts belong to. */
export const repository = fileURLToPath(new URL("..", import.meta.url))

/** The files below `folder` whose name ends with `ending`, relative to it, with forward slashes. */
export const filesIn = (folder, ending) =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true })
        .map((file) => file.split(sep).join("/"))
        .filter((file) => file.endsWith(ending) && !file.includes("node_modules/"))
        .sort()
    : []

/** The folders of `packages/` that are packages. */
export const packagesIn = (root) =>
  (existsSync(join(root, "packages")) ? readdirSync(join(root, "packages")) : [])
    .filter((folder) => existsSync(join(root, "packages", folder, "package.json")))
    .sort()

/** The line, from 1, of a position in a text. */
export const lineAt = (source, offset) => source.slice(0, offset).split("\n").length

const comment = /\/\/.*|\/\*[\s\S]*?(?:\*\/|$)/y
const string = /"(?:\\[\s\S]|[^"\\\n])*"?|'(?:\\[\s\S]|[^'\\\n])*'?/y
const template = /(?:\\[\s\S]|\$(?!\{)|[^`\\$])*(?:`|\$\{|$)/y // from behind the "`", or the "}" of a substitution
const regex = /\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y
const word = /[\w$]+/y
const operand = /^(?:[)\]}]|[\w$]+)$/ // behind it a "/" divides
const operator = /^(?:return|typeof|case|in|of|void|delete|yield|await|else|do|throw|new|extends)$/

/**
 * Splits a TypeScript source into `comments` (`{ start, end }`) and `code`: the source at the same length, in which comments
 * and the insides of strings, templates and regular expressions are blank.
 */
export const scan = (source) => {
  const comments = []
  const substitutions = [] // for each open "${", the number of braces open inside it
  let code = ""
  let previous = ""
  const match = (pattern, offset) => {
    pattern.lastIndex = offset
    return pattern.exec(source)?.[0]
  }
  const blank = (text) => text.replace(/[^\n]/g, " ")
  const text = (token, open, close) => {
    code += token.slice(0, open) + blank(token.slice(open, token.length - close)) + token.slice(token.length - close)
    previous = ")"
  }
  const templateFrom = (offset) => {
    const token = source[offset] + match(template, offset + 1)
    const opens = token.endsWith("${")
    text(token, 1, opens ? 2 : 1)
    if (opens) {
      substitutions.push(0)
      previous = "{"
    }
  }
  while (code.length < source.length) {
    const offset = code.length
    const char = source[offset]
    let token = match(comment, offset)
    if (token !== undefined) {
      comments.push({ start: offset, end: offset + token.length })
      code += blank(token)
      continue
    }
    token = match(string, offset)
    if (token !== undefined) {
      text(token, 1, 1)
      continue
    }
    if (char === "`") {
      templateFrom(offset)
      continue
    }
    if (char === "}" && substitutions.at(-1) === 0) {
      substitutions.pop()
      templateFrom(offset)
      continue
    }
    const divides = operand.test(previous) && !operator.test(previous)
    token = divides ? undefined : match(regex, offset)
    if (token !== undefined) {
      text(token, 0, 0)
      continue
    }
    if (substitutions.length > 0 && (char === "{" || char === "}")) {
      substitutions[substitutions.length - 1] += char === "{" ? 1 : -1
    }
    token = match(word, offset) ?? char
    code += token
    if (token.trim() !== "") previous = token
  }
  return { code, comments }
}
