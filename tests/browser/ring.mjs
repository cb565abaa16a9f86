// ring.mjs URL: what is saved is told in words however little it is, and drawn once it is a hundredth.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url] = process.argv.slice(2)
await visit(url, async (page) => {
  const ring = page.getByRole('img', { name: /of the files' bytes are saved by deduplication$/ })
  await page.getByText('10 B saved by deduplication').waitFor()
  assert.equal(await ring.count(), 0)
  await page.getByText('kept for 3 files, each upload counted').waitFor()
  console.log('little is saved')
  await ring.waitFor()
  assert.match(await ring.getAttribute('aria-label'), /^50 %/)
})
