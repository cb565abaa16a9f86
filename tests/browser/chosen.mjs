// chosen.mjs URL: what is chosen stays so in other folders and searches, a folder is chosen as a
// whole, and what is deleted is chosen no more.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url] = process.argv.slice(2)
await visit(url, async (page) => {
  await row(page, 'Files', 'top.txt').getByRole('checkbox').check()
  await page.getByText('1 file chosen').waitFor()
  await page.getByRole('link', { name: 'photos', exact: true }).click()
  await row(page, 'Files', 'a.jpg').getByRole('checkbox').check()
  await page.getByText('2 files chosen').waitFor()
  const search = page.getByRole('searchbox', { name: 'Search files by name' })
  await search.fill('other.txt')
  await row(page, 'Files', 'other.txt').waitFor()
  await page.getByText('2 files chosen').waitFor()
  await search.fill('')
  await page.getByRole('link', { name: 'All files' }).click()
  const top = row(page, 'Files', 'top.txt')
  await top.waitFor()
  assert.equal(await top.getByRole('checkbox').isChecked(), true)

  const folder = page.getByRole('checkbox', { name: 'Choose the folder photos' })
  assert.equal(await folder.isChecked(), true)
  await folder.uncheck()
  await page.getByText('1 file chosen').waitFor()
  await folder.check()
  // With those deeper in it.
  await page.getByText('4 files chosen').waitFor()
  // What is gone is chosen no more.
  await top.getByRole('button', { name: 'Delete: top.txt' }).click()
  await page.getByRole('dialog', { name: 'Delete this file?' }).getByRole('button', { name: 'Delete' }).click()
  await page.getByText('3 files chosen').waitFor()
  await page.locator('#chosen').getByRole('button', { name: 'Delete' }).click()
  const question = page.getByRole('dialog', { name: 'Delete these files?' })
  await question.getByText('3 files').waitFor()
  await question.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('log').getByText('3 files were deleted').waitFor()
  await page.getByRole('link', { name: 'photos', exact: true }).waitFor({ state: 'detached' })
  await row(page, 'Files', 'other.txt').waitFor()
  assert.equal(await page.locator('#chosen').isVisible(), false)
})
