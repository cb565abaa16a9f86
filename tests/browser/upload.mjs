// upload.mjs URL FILE DOWNLOADED: uploads FILE with progress, and downloads it again.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { download, row, uploadSpeed, visit } from './browser.mjs'

const [url, file, downloaded] = process.argv.slice(2)
await visit(url, async (page) => {
  const name = basename(file)
  await page.getByText('Nothing is here yet.').waitFor()
  const setSpeed = await uploadSpeed(page)
  await setSpeed(8 << 20)
  await page.getByLabel('Files to upload').setInputFiles(file)
  const upload = row(page, 'Uploads', name)
  const bar = upload.getByRole('progressbar')
  await page.waitForFunction((it) => it.value > 0 && it.value < it.max, await bar.elementHandle())
  await upload.getByText(/ of 16\.0 MiB · .*\/s · .* left$/).waitFor()
  await upload.getByText('16.0 MiB uploaded').waitFor()
  await row(page, 'Files', name).getByText('verified').waitFor()
  await page.getByText('16.0 MiB kept for 1 file').waitFor()
  // Nothing is saved, and no ring says so.
  assert.equal(await page.getByRole('img', { name: '% of the files' }).count(), 0)
  assert.equal(await download(page, name, downloaded), name)
})
