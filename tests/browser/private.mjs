// private.mjs URL TOKEN: a private node says in people's words that it is one, before a token and
// after none was given.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url, token] = process.argv.slice(2)
await visit(url, async (page) => {
  const asking = page.getByRole('dialog', { name: 'This node asks for a token' })
  await asking.getByText('Only who has a token may do this.').waitFor()
  const all = await page.locator('body').innerText()
  for (const raw of ['Authorization', 'Bearer', '--']) assert.ok(!all.includes(raw), raw)
  await asking.getByRole('button', { name: 'Cancel' }).click()
  await page.getByText('Only who has a token sees what is here.').waitFor()
  await page.getByText('Files are told once you have entered a token.').waitFor()
  for (const wrong of ['looking…', 'can only read here']) assert.equal(await page.getByText(wrong).isVisible(), false, wrong)
  assert.equal(await page.getByRole('button', { name: 'Choose files' }).isVisible(), false)
  await page.getByRole('button', { name: 'Enter a token' }).click()
  // As long as `openssl rand -hex 32` makes it: all of it can be seen, and its label is apart.
  const field = asking.getByLabel('Token', { exact: true })
  const [box, label, dialog] = await Promise.all([field, asking.locator('label'), asking].map((it) => it.boundingBox()))
  assert.ok(box.y >= label.y + 16, 'the label touches its field')
  assert.ok(box.width > dialog.width - 60, `${box.width} of ${dialog.width}`)
  await field.fill(token)
  await asking.getByRole('button', { name: 'Use it' }).click()
  await page.getByText('Nothing is here yet.').waitFor()
  assert.equal(await page.getByText('Only who has a token sees what is here.').isVisible(), false)
  await page.getByRole('button', { name: 'Choose files' }).waitFor()
}, { refusals: 401, viewport: { width: 360, height: 740 } })
