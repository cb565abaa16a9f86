// copies.mjs URL HOLDER NAME SIZE: the owner's page at URL says on how many members a file is, who
// there is and what each offers; that of a HOLDER that it holds it for another member. What is
// deleted and brought back from the trash is on as many again.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, holder, name, size] = process.argv.slice(2)
const offered = `offers 1.0 GiB, ${size} used`

async function owner(page) {
  await row(page, 'Files', name).getByText(/ · on 3 of 3 members · here and at /).waitFor()
  await page.getByText('Files are to be on 3 members; 2 other members there', { exact: true }).waitFor()
  await page.getByText('1 file is on as many members as it is to be', { exact: true }).waitFor()
  await page.getByText('Holds 0 files for others; offers 1.0 GiB, 0 B used', { exact: true }).waitFor()
  // Both hold it, and are members until a day that is told.
  const peers = page.locator('#peers li')
  const told = new RegExp(`member until \\d\\d/\\d\\d/\\d{4}, ${offered.replaceAll('.', '\\.')}, [\\d.]+ [KMG]iB left, seen `)
  await peers.filter({ hasText: told }).nth(1).waitFor()
  assert.equal(await peers.count(), 2)

  await row(page, 'Files', name).getByRole('button', { name: `Delete: ${name}` }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click()
  await row(page, 'Files', name).waitFor({ state: 'detached' })
  await page.locator('#trash > summary').click()
  await row(page, 'In the trash', name).getByRole('button', { name: /restore/i }).click()
  await row(page, 'Files', name).getByText(/ · on 3 of 3 members · here and at /).waitFor({ timeout: 120_000 })
}

async function held(page) {
  await row(page, 'Files', name).getByText(/ · held here for another member and at /).waitFor()
  await page.getByText(`Holds 1 file for others; ${offered}`, { exact: true }).waitFor()
  assert.equal(await page.getByRole('button', { name: `Delete: ${name}` }).count(), 0)
}

await visit(holder, held)
await visit(url, owner)
