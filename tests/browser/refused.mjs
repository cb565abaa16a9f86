// refused.mjs URL TOO_LONG… FITTING: uploads that the node refuses do not keep the others waiting.
import { basename } from 'node:path'
import { row, visit } from './browser.mjs'

const [url, ...files] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByLabel('Files to upload').setInputFiles(files)
  const fitting = basename(files.pop())
  await row(page, 'Uploads', fitting).getByText(/ uploaded$/).waitFor()
  for (const file of files) {
    const upload = row(page, 'Uploads', basename(file))
    await upload.getByText(/^failed: /).waitFor()
    await upload.getByRole('button', { name: `Cancel ${basename(file)}` }).click()
    await upload.waitFor({ state: 'detached' })
  }
}, { refusals: 413 })
