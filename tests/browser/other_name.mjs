// other_name.mjs URL OWN THEIRS: of what is here under another name only, the page says so, and
// offers neither to delete it here nor to keep what is kept already; deleting the own file says
// that it is gone, and then the other can be kept.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, own, theirs] = process.argv.slice(2)
await visit(url, async (page) => {
  const mine = row(page, 'Files', own)
  await mine.getByText(/· here and at /).waitFor()
  const other = row(page, 'Files', theirs)
  await other.getByText(/· here under another name and at localhost:\d+$/).waitFor()
  const actions = (of) => of.locator('.row-actions button').allInnerTexts()
  assert.deepEqual(await actions(mine), ['Look', 'Delete'])
  assert.deepEqual(await actions(other), ['Look'])
  await other.getByRole('checkbox').check()
  for (const label of ['Keep copies', 'Delete']) assert.equal(await page.locator('#chosen').getByRole('button', { name: label }).isEnabled(), false)
  await other.getByRole('button', { name: `Look: ${theirs}` }).click()
  const dialog = page.getByRole('dialog', { name: theirs })
  await dialog.getByText('here under another name and at localhost').waitFor()
  await dialog.getByRole('link', { name: 'Download' }).waitFor()
  assert.equal(await dialog.getByRole('button', { name: 'Delete' }).count(), 0)
  await dialog.getByRole('button', { name: 'Close' }).click()

  await mine.getByRole('button', { name: `Delete: ${own}` }).click()
  await page.getByRole('dialog', { name: 'Delete this file?' }).getByRole('button', { name: 'Delete' }).click()
  await page.getByText(`${own} was deleted`).waitFor()
  // A copy is called as the row that was clicked, whatever else its holders call the same.
  await other.getByRole('button', { name: `Keep a copy: ${theirs}` }).click()
  await other.getByText(/· here and at localhost:\d+$/).waitFor()
  assert.deepEqual(await actions(other), ['Look', 'Delete'])
})
