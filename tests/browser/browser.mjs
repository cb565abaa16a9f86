// A page in headless Chromium that must behave: nothing from elsewhere, no error, no script
// that a name brought along.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { basename } from 'node:path'

const require = createRequire(`${process.env.PACKAGES}/`)
const { chromium } = require('playwright-core')

// A headless Chromium, to be closed.
export function launch() {
  // Without a sandbox of its own, which needs rights that a container does not give.
  const args = ['--no-sandbox']
  // A name of a test that leads to this machine.
  if (process.env.NAME) args.push(`--host-resolver-rules=MAP ${process.env.NAME} 127.0.0.1`)
  return chromium.launch({ executablePath: '/usr/bin/chromium', args })
}

// Opens the page of the node at `url`, lets `use` use it, and fails if anything was wrong; the
// node may refuse requests with the status `refusals`, if that is given.
export async function visit(url, use, options = {}) {
  const browser = await launch()
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
  context.setDefaultTimeout(30_000)
  const wrong = []
  const watch = (page) => {
    page.on('console', (line) => {
      // What was refused is told below, and where.
      const refused = line.text().startsWith('Failed to load resource')
      if (['error', 'warning'].includes(line.type()) && !refused) wrong.push(line.text())
    })
    page.on('pageerror', (error) => wrong.push(error.message))
    page.on('dialog', (dialog) => {
      // Leaving a page with uploads under way asks; nothing else may.
      if (dialog.type() !== 'beforeunload') wrong.push(`a dialog: ${dialog.message()}`)
      dialog.accept()
    })
    page.on('response', (answer) => {
      const told = `${answer.status()} for ${answer.request().method()} ${answer.url()}`
      if (answer.status() >= 400 && answer.status() !== options.refusals) wrong.push(told)
    })
    page.on('request', (request) => {
      const to = new URL(request.url())
      // The browser has addresses of its own, those of its viewer of PDFs among them.
      const leaves = ['http:', 'https:', 'ws:', 'wss:', 'ftp:'].includes(to.protocol)
      if (leaves && to.origin !== new URL(url).origin) wrong.push(`a request to ${to.origin}`)
    })
  }
  const page = await context.newPage()
  watch(page)
  try {
    await page.goto(url)
    await use(page)
  } catch (error) {
    console.error(await page.locator('body').ariaSnapshot().catch(() => 'no page'))
    throw error
  } finally {
    await browser.close()
  }
  assert.deepEqual(wrong, [])
}

// The row of a list that has this name.
export function row(page, list, name) {
  const text = page.getByText(name, { exact: true })
  return page.getByRole('list', { name: list }).getByRole('listitem').filter({ has: text })
}

// A function that sets how many bytes a second the page can send; -1 is as many as it likes.
export async function uploadSpeed(page) {
  const session = await page.context().newCDPSession(page)
  return (uploadThroughput) => session.send('Network.emulateNetworkConditions', {
    offline: false, latency: 0, downloadThroughput: -1, uploadThroughput,
  })
}

// Begins to upload a file from the disk, slowly enough to be disturbed, and waits until a fifth of
// it is there: its row, and the function that sets how fast the page sends.
export async function begunUpload(page, file) {
  const setSpeed = await uploadSpeed(page)
  await setSpeed(4 << 20)
  await page.getByLabel('Files to upload').setInputFiles(file)
  const upload = row(page, 'Uploads', basename(file))
  const bar = await upload.getByRole('progressbar').elementHandle()
  await page.waitForFunction((it) => it.value > 0.2 * it.max, bar)
  return { upload, setSpeed }
}

// Downloads by a click on the name in the list of files, to `path`.
export async function download(page, name, path) {
  const coming = page.waitForEvent('download')
  await row(page, 'Files', name).getByRole('link').click()
  const file = await coming
  assert.equal(await file.failure(), null)
  await file.saveAs(path)
  return file.suggestedFilename()
}
