// Imports profiles with speedscope's own code, and writes each as speedscope itself would save it.
//
//     node import.js FOLDER_OF_THE_PACKAGE FILE...
//
// prints one line of JSON a file: what speedscope saves, in its published file format, or null if it
// does not know the file. The package has only the finished application: it is run up to where it
// would draw itself, on a page that has nothing, and asked for two of its functions by what they do.
// A release that is built otherwise fails here with the name of what is missing.
'use strict'
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')

/** Has everything and does nothing. */
function nothing() {
  return new Proxy(function () {}, {
    get: (_, name) => (name === Symbol.toPrimitive ? () => '' : name === 'then' ? undefined : nothing()),
    apply: nothing,
    construct: nothing,
  })
}

function application(folder) {
  const release = path.join(folder, 'dist', 'release')
  const file = fs.readdirSync(release).find(name => /^speedscope-.*\.js$/.test(name))
  const code = fs.readFileSync(path.join(release, file), 'utf8')
  const find = (what, pattern) => {
    const found = pattern.exec(code)
    if (found == null) throw new Error(`${file}: no ${what}`)
    return found
  }
  const load = find('import', /async function ([\w$]+)\(\w+,\w+\)\{return\(await [\w$]+\)\.importProfilesFromArrayBuffer\(/)[1]
  const save = find('export', /\{let \w+=([\w$]+)\(\w+\),\w+=new Blob\(\[JSON\.stringify\(/)[1]
  const start = find('start', /console\.log\(`speedscope v\$\{/).index
  const page = vm.createContext({ TextDecoder, TextEncoder, URL, setTimeout, console: { ...console, log() {} } })
  page.window = page.self = page
  for (const name of ['document', 'location', 'localStorage', 'matchMedia']) page[name] = nothing()
  return vm.runInContext(`${code.slice(0, start)} globalThis.speedscope = { load: ${load}, save: ${save} } })(); speedscope`, page)
}

async function main([folder, ...files]) {
  const speedscope = application(folder)
  for (const file of files) {
    const bytes = fs.readFileSync(file)
    const group = await speedscope.load(path.basename(file), bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
    process.stdout.write(JSON.stringify(group && speedscope.save(group)) + '\n')
  }
}

main(process.argv.slice(2)).catch(error => {
  // Its stack would show the code: half a megabyte in one line.
  console.error(String(error))
  process.exit(1)
})
