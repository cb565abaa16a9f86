// room.mjs URL FILE: how much room is left is told, and when there is none.
import { row, visit } from './browser.mjs'
import { basename } from 'node:path'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByText('Room for 977 KiB more').waitFor()
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Files', basename(file)).waitFor()
  await page.getByText('There is no room for more').waitFor()
})
