// restart.mjs URL FILE: uploads FILE, says so on its output when some of it is there, and waits
// until the page went on by itself; meanwhile the node is killed and started again.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { row, uploadSpeed, visit } from './browser.mjs'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  const setSpeed = await uploadSpeed(page)
  await setSpeed(4 << 20)
  await page.getByLabel('Files to upload').setInputFiles(file)
  const upload = row(page, 'Uploads', basename(file))
  const bar = await upload.getByRole('progressbar').elementHandle()
  await page.waitForFunction((it) => it.value > 0.2 * it.max, bar)
  const goingOn = page.waitForRequest((it) => it.method() === 'PATCH' && it.headers()['upload-offset'] > 0)
  console.log('under way')
  assert.ok(Number((await goingOn).headers()['upload-offset']) > 0)
  await setSpeed(-1)
  await upload.getByText('32.0 MiB uploaded').waitFor()
  await page.getByText('live', { exact: true }).waitFor()
  await row(page, 'Files', basename(file)).waitFor()
})
