// token.mjs URL TOKEN FILE DOWNLOADED: the page of a private node asks for the token.
import { basename } from 'node:path'
import { download, row, visit } from './browser.mjs'

const [url, token, file, downloaded] = process.argv.slice(2)
await visit(url, async (page) => {
  const asking = page.getByRole('dialog', { name: 'This node asks for a token' })
  await asking.getByLabel('Token').fill('another-one-that-is-wrong')
  await asking.getByRole('button', { name: 'Use it' }).click()
  await asking.getByText("This node does not know the token").waitFor()
  await asking.getByLabel('Token').fill(token)
  await asking.getByRole('button', { name: 'Use it' }).click()
  await page.getByText('Nothing is here yet.').waitFor()
  await page.getByText('This node is private').waitFor()
  await page.getByRole('button', { name: 'Enter a token' }).waitFor({ state: 'hidden' })
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Files', basename(file)).waitFor()
  await download(page, basename(file), downloaded)
  await page.reload()
  await row(page, 'Files', basename(file)).waitFor()
}, { refusals: 401 })
