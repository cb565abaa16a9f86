// newest.mjs URL NEWEST OLDEST COUNT: of so many files the newest is first, all are reached by
// scrolling, and few are on the page at a time.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, newest, oldest, total] = process.argv.slice(2)
await visit(url, async (page) => {
  await row(page, 'Files', newest).waitFor()
  const rows = page.getByRole('list', { name: 'Files' }).getByRole('listitem')
  await rows.first().getByText(newest, { exact: true }).waitFor()
  const end = row(page, 'Files', oldest)
  for (let pages = 0; !(await end.isVisible()); pages += 1) {
    assert.ok(pages < 200, 'the oldest cannot be reached')
    await page.evaluate(() => window.scrollTo(0, document.body.scrollHeight))
    await page.waitForTimeout(50)
    assert.ok(await rows.count() < 60, 'all rows are on the page')
  }
  await page.getByText(`${Number(total).toLocaleString('en')} files`, { exact: true }).waitFor()

  // What comes meanwhile is first when somebody looks there again.
  await fetch(new URL('api/p2p/upload', url), { method: 'POST', body: form('came last.txt') })
  await page.evaluate(() => window.scrollTo(0, 0))
  await rows.first().getByText('came last.txt', { exact: true }).waitFor()
  await page.getByLabel('Sort by').selectOption('oldest')
  await rows.first().getByText(oldest, { exact: true }).waitFor()
  await page.getByLabel('Sort by').selectOption('name')
  await rows.first().getByText('came last.txt', { exact: true }).waitFor()
})

function form(name) {
  const made = new FormData()
  made.append('file', new Blob([name]), name)
  return made
}
