// computer.mjs URL TOKEN FILE CODE: enters the token, uploads FILE, and shows the code that leads the
// phone beside it there, as a picture, with the token.
import { basename } from 'node:path'
import { row, visit } from './browser.mjs'

const [url, token, file, code] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByRole('button', { name: 'Enter a token' }).click()
  const asking = page.getByRole('dialog', { name: 'This node asks for a token' })
  await asking.getByLabel('Token').fill(token)
  await page.keyboard.press('Enter')
  await page.getByRole('button', { name: 'Choose files' }).waitFor()
  await page.getByLabel('Files to upload').setInputFiles(file)
  await row(page, 'Files', basename(file)).waitFor()
  await page.getByRole('button', { name: 'Open on a phone' }).click()
  const dialog = page.getByRole('dialog', { name: 'On the phone beside you' })
  await dialog.getByLabel('Hand over my token').check()
  await dialog.getByRole('img', { name: 'The address as a QR code' }).screenshot({ path: code })
})
