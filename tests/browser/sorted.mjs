// sorted.mjs URL NAME...: sorted by name, the files come in this order.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, ...names] = process.argv.slice(2)
await visit(url, async (page) => {
  await row(page, 'Files', names[0]).waitFor()
  await page.getByLabel('Sort by').selectOption('name')
  const shown = page.getByRole('list', { name: 'Files' }).locator('a.name')
  await page.waitForFunction((first) => document.querySelector('#file-list a.name')?.textContent === first, names[0])
  assert.deepEqual(await shown.allTextContents(), names)
})
