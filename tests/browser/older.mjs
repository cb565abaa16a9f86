// older.mjs URL NAME DOWNLOADED: a file of a peer that tells no hash is told to be not verified,
// and so is the peer; it is downloaded all the same.
import assert from 'node:assert/strict'
import { download, row, visit } from './browser.mjs'

const [url, name, downloaded] = process.argv.slice(2)
await visit(url, async (page) => {
  await row(page, 'Files', name).getByText('not verified', { exact: true }).waitFor()
  await page.getByText('1 of them unverified').waitFor()
  await page.getByText(/^not verified, seen /).waitFor()
  assert.equal(await download(page, name, downloaded), name)
})
