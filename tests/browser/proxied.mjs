// proxied.mjs URL ARCHIVE: the page behind a proxy, under whatever path it is there: an upload, an
// archive, changes that others make, folders, and the code for a phone.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, archive] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByText('live', { exact: true }).waitFor()
  const files = ['in/a.txt', 'in/b.txt'].map((name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(name) }))
  await page.getByLabel('Files to upload').setInputFiles(files)
  await row(page, 'Files', 'in').getByText(/^2 files/).waitFor()
  const coming = page.waitForEvent('download')
  await page.getByRole('link', { name: 'Download the folder in' }).click()
  const file = await coming
  assert.equal(await file.failure(), null)
  await file.saveAs(archive)
  await page.getByRole('link', { name: 'in', exact: true }).click()
  await row(page, 'Files', 'a.txt').getByRole('button', { name: 'Look: in/a.txt' }).click()
  await page.getByRole('dialog', { name: 'in/a.txt' }).getByText('in/a.txt').last().waitFor()
  await page.keyboard.press('Escape')
  await page.reload()
  await row(page, 'Files', 'b.txt').waitFor()
  await page.getByRole('button', { name: 'Open on a phone' }).click()
  await page.getByRole('dialog', { name: 'On the phone beside you' }).getByRole('link', { name: url }).waitFor()
}, { ignoreHTTPSErrors: true })
