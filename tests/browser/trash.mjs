// trash.mjs URL NAME: what is deleted can be restored from the trash, or is gone from there.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, name] = process.argv.slice(2)
await visit(url, async (page) => {
  const file = row(page, 'Files', name)
  const card = page.locator('#trash')
  const remove = async () => {
    await file.getByRole('button', { name: 'Delete' }).click()
    const asking = page.getByRole('dialog', { name: 'Delete this file?' })
    await asking.getByText('can be restored from the trash for 24.0 h').waitFor()
    await asking.getByRole('button', { name: 'Delete' }).click()
    await file.waitFor({ state: 'detached' })
    await card.getByText('1 file (').waitFor({ state: 'attached' })
  }
  await file.waitFor()
  await card.waitFor()
  await card.locator('summary').click()
  await card.getByText('Empty. What is deleted stays here for 24.0 h.').waitFor()
  await remove()
  await card.getByRole('button', { name: `Restore ${name}` }).click()
  await file.waitFor()
  await card.getByText('Empty.').waitFor()
  await remove()
  await card.getByRole('button', { name: 'Empty the trash' }).click()
  const asking = page.getByRole('dialog', { name: 'Empty the trash?' })
  await asking.getByText('1 file will be gone for good.').waitFor()
  await asking.getByRole('button', { name: 'Delete' }).click()
  await card.getByText('Empty.').waitFor()
  assert.equal(await file.count(), 0)
})
