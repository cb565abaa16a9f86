// gone.mjs URL GONE CHANGED OTHER AGAIN: uploads whose files are deleted or changed before they are
// sent end with the reason and stop no other; what is chosen again is uploaded.
import { unlinkSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { row, visit } from './browser.mjs'

const [url, gone, changed, other] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByText('live', { exact: true }).waitFor()
  const uploads = Object.fromEntries([gone, changed, other].map((it) => [it, row(page, 'Uploads', basename(it))]))
  // Nothing reaches the node until the files are otherwise.
  await page.context().setOffline(true)
  await page.getByLabel('Files to upload').setInputFiles([gone, changed, other])
  for (const upload of Object.values(uploads)) await upload.getByText('the node does not answer').waitFor()
  unlinkSync(gone)
  writeFileSync(changed, 'changed, and longer')
  await page.context().setOffline(false)
  for (const it of [gone, changed]) {
    await uploads[it].getByText('this file has changed or is gone; choose it again').waitFor()
    await page.getByRole('log').getByText(`${basename(it)} has changed or is gone; choose it again`).waitFor()
  }
  await uploads[other].getByText(/ uploaded$/).waitFor()
  await page.getByText('1 file uploaded, 2 failed').waitFor()
  await row(page, 'Files', basename(other)).waitFor()

  await uploads[changed].getByLabel(`The file ${basename(changed)}`).setInputFiles(changed)
  await uploads[changed].getByText(/ uploaded$/).waitFor()
  await row(page, 'Files', basename(changed)).waitFor()
  await uploads[gone].getByRole('button', { name: `Discard ${basename(gone)}` }).click()
  await uploads[gone].waitFor({ state: 'detached' })
  // Once the node has heard that nobody wants what came of the old ones.
  await page.waitForFunction(() => !Object.keys(localStorage).some((it) => it.startsWith('tus::')))
})

// The same while it is under way, and while it is paused.
await visit(url, async (page) => {
  await page.getByText('live', { exact: true }).waitFor()
  writeFileSync(gone, Buffer.alloc(1000, 'a'))
  const upload = row(page, 'Uploads', basename(gone))
  await page.context().setOffline(true)
  await page.getByLabel('Files to upload').setInputFiles(gone)
  await upload.getByText('the node does not answer').waitFor()
  await upload.getByRole('button', { name: 'Pause' }).click()
  writeFileSync(gone, 'short')
  await page.context().setOffline(false)
  await upload.getByRole('button', { name: 'Resume' }).click()
  await upload.getByText('this file has changed or is gone; choose it again').waitFor()
})
