// declined.mjs URL TOKEN: who has no token yet is asked once, and again only when they want.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url, token] = process.argv.slice(2)
await visit(url, async (page) => {
  const asking = page.getByRole('dialog', { name: 'This node asks for a token' })
  await asking.getByRole('button', { name: 'Cancel' }).click()
  await asking.waitFor({ state: 'hidden' })
  // The page goes on trying; each try would ask.
  for (let tries = 0; tries < 2; tries += 1) {
    await page.waitForResponse((it) => it.url().endsWith('/api/events') && it.status() === 401)
  }
  assert.equal(await asking.isVisible(), false)
  await page.getByRole('button', { name: 'Enter a token' }).click()
  await asking.getByLabel('Token').fill(token)
  await asking.getByRole('button', { name: 'Use it' }).click()
  await page.getByText('Nothing is here yet.').waitFor()
}, { refusals: 401 })
