// wide_texts.mjs URL: texts in UTF-16, as editors of Windows save them, are read as texts.
import { row, visit } from './browser.mjs'

const [url] = process.argv.slice(2)
await visit(url, async (page) => {
  for (const name of ['little.txt', 'big.txt', 'unmarked.txt', 'usual.txt']) {
    await row(page, 'Files', name).getByRole('button', { name: `Look: ${name}` }).click()
    const dialog = page.getByRole('dialog', { name })
    await dialog.locator('pre').getByText('grüße, and more', { exact: true }).waitFor()
    await dialog.getByRole('button', { name: 'Close' }).click()
  }
})
