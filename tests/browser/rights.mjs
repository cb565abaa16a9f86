// rights.mjs URL NAME [TOKEN]: who may only read is offered no more, and is told why.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, name, token] = process.argv.slice(2)
await visit(url, async (page) => {
  const file = row(page, 'Files', name)
  await file.waitFor()
  if (token) {
    await page.getByText('Who has no token can only read here.').waitFor()
    await page.getByRole('button', { name: 'Enter a token' }).click()
    const asking = page.getByRole('dialog', { name: 'This node asks for a token' })
    await asking.getByLabel('Token').fill('another-one-that-is-wrong')
    await page.keyboard.press('Enter')
    await page.getByText('This node does not know your token').waitFor()
    await page.getByRole('button', { name: 'Enter a token' }).click()
    await asking.getByLabel('Token').fill(token)
    await page.keyboard.press('Enter')
    await page.getByText('Your token gives the right to read only').waitFor()
    // Another may give more.
    assert.equal(await page.getByRole('button', { name: 'Enter a token' }).isVisible(), true)
  } else {
    await page.getByText('This node takes no changes from anybody').waitFor()
  }
  assert.equal(await page.getByRole('button', { name: 'Choose files' }).isVisible(), false)
  await file.getByRole('button', { name: 'Delete' }).waitFor({ state: 'detached' })
  // What is chosen can be downloaded, and nothing else.
  await file.getByRole('checkbox').check()
  const chosen = page.locator('#chosen')
  await chosen.getByRole('button', { name: 'Download' }).waitFor()
  for (const other of ['Keep copies', 'Delete']) assert.equal(await chosen.getByRole('button', { name: other }).isVisible(), false)
  await chosen.getByRole('button', { name: 'Choose none' }).click()
  await file.getByRole('button', { name: `Look: ${name}` }).click()
  const dialog = page.getByRole('dialog', { name })
  await dialog.getByRole('link', { name: 'Download' }).waitFor()
  assert.equal(await dialog.getByRole('button', { name: 'Delete' }).count(), 0)
})
