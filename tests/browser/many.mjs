// many.mjs URL COUNT: so many uploads take one folding panel, and the files stay in sight.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url, count] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByText('Nothing is here yet.').waitFor()
  const files = Array.from({ length: Number(count) }, (_, at) => ({
    name: `file ${at}.txt`, mimeType: 'text/plain', buffer: Buffer.from(`${at}`),
  }))
  await page.getByLabel('Files to upload').setInputFiles(files)
  const panel = page.locator('#upload-panel')
  const isInSight = async () => {
    const { y } = await page.getByRole('heading', { name: 'Files' }).boundingBox()
    return y < 640
  }
  await panel.getByText(/ of \d+ files done/).waitFor()
  assert.ok(await isInSight())
  await panel.locator('summary').click()
  await panel.getByText(/more files wait$/).waitFor()
  assert.ok(await isInSight())
  await page.screenshot({ path: `${process.env.SCREENSHOTS}/many.png` })
  await page.getByText(`${count} files were uploaded`).waitFor({ timeout: 120_000 })
  const bar = page.getByRole('progressbar', { name: 'All uploads' })
  assert.ok(await bar.evaluate((it) => it.value === it.max))
  await page.getByRole('button', { name: 'Clear what is done' }).click()
  await panel.waitFor({ state: 'hidden' })

  // What waits or is under way ends together.
  await page.route('**/api/p2p/tus', () => {})
  await page.getByLabel('Files to upload').setInputFiles(files.slice(0, 20).map((it) => ({ ...it, name: `again ${it.name}` })))
  await panel.waitFor()
  await panel.locator('summary').click()
  await page.getByRole('button', { name: 'Cancel all' }).click()
  await panel.waitFor({ state: 'hidden' })
})
