// restart.mjs URL FILE: uploads FILE, says so on its output when some of it is there, and waits
// until the page went on by itself; meanwhile the node is killed and started again.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { begunUpload, row, visit } from './browser.mjs'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  const { upload, setSpeed } = await begunUpload(page, file)
  const goingOn = page.waitForRequest((it) => it.method() === 'PATCH' && it.headers()['upload-offset'] > 0)
  console.log('under way')
  assert.ok(Number((await goingOn).headers()['upload-offset']) > 0)
  await setSpeed(-1)
  await upload.getByText('32.0 MiB uploaded').waitFor()
  await page.getByText('live', { exact: true }).waitFor()
  await row(page, 'Files', basename(file)).waitFor()
})
