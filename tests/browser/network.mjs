// network.mjs URL NAME DOWNLOADED: finds a file of another node, downloads it through this one,
// keeps a copy and deletes that.
import assert from 'node:assert/strict'
import { download, row, visit } from './browser.mjs'

const [url, name, downloaded] = process.argv.slice(2)
const HOSTILE = '<img src=x onerror=alert(1)>'
await visit(url, async (page) => {
  await page.getByText('1 peer', { exact: true }).waitFor()
  await row(page, 'Files', HOSTILE).waitFor()
  assert.equal(await page.locator('img[src="x"]').count(), 0)

  const search = page.getByRole('searchbox', { name: 'Search files by name' })
  await search.fill('no such name')
  await page.getByText('No file has such a name.').waitFor()
  await search.fill(name.slice(1).toUpperCase())
  const found = row(page, 'Files', name)
  await found.getByText(/at localhost:\d+$/).waitFor()
  await row(page, 'Files', HOSTILE).waitFor({ state: 'detached' })
  // Nobody has read it yet.
  await found.getByText('checked as it comes').waitFor()
  assert.equal(await download(page, name, downloaded), name)

  await found.getByRole('button', { name: `Keep a copy: ${name}` }).click()
  await found.getByText(/here and at localhost:\d+$/).waitFor()
  await found.getByText('verified', { exact: true }).waitFor()
  await page.getByText('kept for 1 file').waitFor()

  await found.getByRole('button', { name: `Delete: ${name}` }).click()
  const question = page.getByRole('dialog', { name: 'Delete this file?' })
  await question.getByText('1 other node keeps a copy.').waitFor()
  await question.getByRole('button', { name: 'Cancel' }).click()
  await question.waitFor({ state: 'hidden' })
  await found.getByRole('button', { name: `Delete: ${name}` }).click()
  await question.getByRole('button', { name: 'Delete' }).click()
  await page.getByText(`${name} was deleted`).waitFor()
  await found.getByText(/· at localhost:\d+$/).waitFor()
  await page.getByText('kept for 0 files').waitFor()
})
