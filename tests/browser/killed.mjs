// killed.mjs URL FILE: an upload of a page that stays open while the node is killed and comes
// back, which is the part of whoever runs this.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { row, uploadSpeed, visit } from './browser.mjs'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  const name = basename(file)
  const offsets = []
  page.on('request', (request) => {
    if (request.method() === 'PATCH') offsets.push(Number(request.headers()['upload-offset']))
  })
  const setSpeed = await uploadSpeed(page)
  await setSpeed(8 << 20)
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Uploads', name).getByText('32.0 MiB uploaded').waitFor()
  await row(page, 'Files', name).waitFor()
  await page.getByText('live', { exact: true }).waitFor()
  assert.equal(offsets[0], 0)
  assert.ok(offsets.length > 1 && offsets.at(-1) > 0, `parts began at ${offsets}`)
})
