// beside.mjs URL NAME DOWNLOADED FILE: on a phone, which knows no more than what a code says, downloads
// the file NAME to DOWNLOADED, and uploads FILE.
import { basename } from 'node:path'
import { download, row, visit } from './browser.mjs'

const [url, name, downloaded, file] = process.argv.slice(2)
await visit(url, async (page) => {
  await row(page, 'Files', name).waitFor()
  await download(page, name, downloaded)
  await page.getByRole('button', { name: 'Choose files' }).waitFor()
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Files', basename(file)).waitFor()
}, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true })
