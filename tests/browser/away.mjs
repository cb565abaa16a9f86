// away.mjs URL FILE: uploads FILE, says on its output how far it is, and waits until the page went on
// by itself, long after it has told that the node is away.
import assert from 'node:assert/strict'
import { begunUpload, visit } from './browser.mjs'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  const { upload, setSpeed } = await begunUpload(page, file)
  console.log('under way')
  await upload.getByText(/the node does not answer; it goes on by itself when the node is back$/).waitFor({ timeout: 60_000 })
  assert.equal(await upload.getByText(/ left$/).count(), 0)
  const goingOn = page.waitForRequest((it) => it.method() === 'PATCH' && it.headers()['upload-offset'] > 0)
  await setSpeed(-1)
  console.log('away')
  await goingOn
  await upload.getByText('32.0 MiB uploaded').waitFor()
})
