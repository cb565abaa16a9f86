// room.mjs URL FILE: how much room is left is told, and when there is none.
import { row, visit } from './browser.mjs'
import { basename } from 'node:path'

const [url, file] = process.argv.slice(2)
// A phone's page is folded, and tells it all the same.
await visit(url, async (page) => {
  await page.getByText('Room for 977 KiB more').waitFor({ state: 'attached' })
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Files', basename(file)).waitFor()
  await page.getByText('There is no room for more').waitFor()
}, { viewport: { width: 390, height: 844 } })
