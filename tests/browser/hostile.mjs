// hostile.mjs URL FILE: a file whose name is markup is uploaded and deleted, and its name is
// text wherever it is shown.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { row, visit } from './browser.mjs'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  const name = basename(file)
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Uploads', name).waitFor()
  await row(page, 'Files', name).getByRole('button', { name: `Delete: ${name}` }).click()
  const question = page.getByRole('dialog', { name: 'Delete this file?' })
  await question.getByText(name).waitFor()
  await question.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('log').getByText(`${name} was deleted`).waitFor()
  assert.equal(await page.locator('img[src="x"]').count(), 0)
})
