// other_name.mjs URL OWN THEIRS LAST: of what is here under another name only, the page says so, and
// offers not to delete it here, but to keep it under this name, too, alone or with others that are
// chosen; each file is deleted by itself.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, own, theirs, last] = process.argv.slice(2)
await visit(url, async (page) => {
  const mine = row(page, 'Files', own)
  await mine.getByText(/· here and at /).waitFor()
  const other = row(page, 'Files', theirs)
  await other.getByText(/· here under another name and at localhost:\d+$/).waitFor()
  const actions = (of) => of.locator('.row-actions button').allInnerTexts()
  assert.deepEqual(await actions(mine), ['Look', 'Delete'])
  assert.deepEqual(await actions(other), ['Look', 'Keep a copy'])
  await other.getByRole('checkbox').check()
  const together = (label) => page.locator('#chosen').getByRole('button', { name: label })
  assert.equal(await together('Keep copies').isEnabled(), true)
  assert.equal(await together('Delete').isEnabled(), false)
  await other.getByRole('button', { name: `Look: ${theirs}` }).click()
  const dialog = page.getByRole('dialog', { name: theirs })
  await dialog.getByText('here under another name and at localhost').waitFor()
  await dialog.getByRole('link', { name: 'Download' }).waitFor()
  assert.equal(await dialog.getByRole('button', { name: 'Delete' }).count(), 0)
  await dialog.getByRole('button', { name: 'Close' }).click()

  await together('Choose none').click()

  // A copy is called as the row that was clicked, whatever else is here of the same content.
  await other.getByRole('button', { name: `Keep a copy: ${theirs}` }).click()
  await page.getByText(`${theirs} is kept here`).waitFor()
  await other.getByText(/· here and at localhost:\d+$/).waitFor()
  assert.deepEqual(await actions(other), ['Look', 'Delete'])
  await other.getByRole('checkbox').check()
  assert.equal(await together('Keep copies').isEnabled(), false)
  await row(page, 'Files', last).getByRole('checkbox').check()
  await together('Keep copies').click()
  await page.getByText('1 copy is being made').waitFor()
  await row(page, 'Files', last).getByText(/· here and at localhost:\d+$/).waitFor()

  await mine.getByRole('button', { name: `Delete: ${own}` }).click()
  await page.getByRole('dialog', { name: 'Delete this file?' }).getByRole('button', { name: 'Delete' }).click()
  await page.getByText(`${own} was deleted`).waitFor()
  await mine.getByText(/· here under another name and at localhost:\d+$/).waitFor()
  assert.deepEqual(await actions(mine), ['Look', 'Keep a copy'])
})
