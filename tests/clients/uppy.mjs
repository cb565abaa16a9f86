// Uploads a file by Uppy, bundled as a site would, in headless Chromium on a page of another origin.
//
//   node uppy.mjs ENDPOINT FILE PARALLEL PORT
//
// PORT is where the page is served; PARALLEL how many parts are sent at once. PACKAGES names the
// directory that holds node_modules.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { basename } from 'node:path'

const require = createRequire(`${process.env.PACKAGES}/`)
const { build } = require('esbuild')
const { chromium } = require('playwright-core')

const [endpoint, file, parallel, port] = process.argv.slice(2)
const entry = `
  import Uppy from '@uppy/core'
  import Tus from '@uppy/tus'
  const uppy = new Uppy({ autoProceed: true, meta: { description: 'naïve' } })
  uppy.use(Tus, {
    endpoint: ${JSON.stringify(endpoint)},
    parallelUploads: ${Number(parallel)},
    allowedMetaFields: ['name', 'type', 'description'],
  })
  document.querySelector('input').addEventListener('change', ({ target }) => {
    for (const data of target.files) uppy.addFile({ name: data.name, type: data.type, data })
  })
  uppy.on('complete', ({ failed, successful }) => {
    window.ended = { failed: failed.map((it) => it.error), urls: successful.map((it) => it.uploadURL) }
  })
`
const bundled = await build({
  stdin: { contents: entry, resolveDir: process.env.PACKAGES },
  bundle: true,
  format: 'esm',
  logLevel: 'error',
  write: false,
})
const html = '<!doctype html><input type="file"><script type="module" src="/app.js"></script>'
const server = createServer((request, response) => {
  const isScript = request.url === '/app.js'
  response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
  response.end(isScript ? bundled.outputFiles[0].contents : html)
})
await new Promise((listening) => server.listen(Number(port), '127.0.0.1', listening))

// Without a sandbox of its own, which needs rights that a container does not give.
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] })
const page = await browser.newPage()
await page.goto(`http://127.0.0.1:${server.address().port}/`)
await page.locator('input').setInputFiles(file)
const ended = await page.waitForFunction(() => window.ended)
const { failed, urls } = await ended.jsonValue()
await browser.close()
server.close()
if (failed.length > 0 || urls.length !== 1) {
  console.error(basename(file), failed, urls)
  process.exit(1)
}
console.log(urls[0])
