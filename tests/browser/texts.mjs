// texts.mjs URL: a text and a picture are pasted, another text is written, and what was written of an
// upload is shown with it.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url] = process.argv.slice(2)

// Pastes as a keyboard does it, without the clipboard of the machine.
function paste(page, items) {
  return page.evaluate((all) => {
    const data = new DataTransfer()
    for (const { text, file, type } of all) {
      if (text !== undefined) data.setData('text/plain', text)
      else data.items.add(new File([new Uint8Array([137, 80, 78, 71])], file, { type }))
    }
    document.body.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true }))
  }, items)
}

await visit(url, async (page) => {
  await page.getByText('Nothing is here yet.').waitFor()
  const asking = page.getByRole('dialog', { name: 'Upload a text' })
  await paste(page, [{ text: 'pasted words' }])
  assert.equal(await asking.getByLabel('Text').inputValue(), 'pasted words')
  assert.match(await asking.getByLabel('Name').inputValue(), /^text \d{4}-\d\d-\d\d \d\d\.\d\d\.\d\d\.txt$/)
  // Nothing goes before somebody says so.
  await asking.getByRole('button', { name: 'Cancel' }).click()
  await asking.waitFor({ state: 'hidden' })

  await page.getByLabel('Description of what you upload next').fill('words of ours')
  await page.getByRole('button', { name: 'Write a text' }).click()
  assert.equal(await asking.getByLabel('Text').inputValue(), '')
  await asking.getByLabel('Text').fill('written\nwords')
  await asking.getByLabel('Name').fill('written.txt')
  await asking.getByRole('button', { name: 'Upload' }).click()
  await row(page, 'Files', 'written.txt').waitFor()
  assert.equal(await page.getByLabel('Description of what you upload next').inputValue(), '')
  await page.getByText('1 file', { exact: true }).waitFor()

  // Of the picture a browser only says that it is one.
  await paste(page, [{ file: 'image.png', type: 'image/png' }])
  const picture = page.getByRole('list', { name: 'Files', exact: true }).getByRole('link', { name: /^pasted .*\.png$/ })
  await picture.waitFor()

  await row(page, 'Files', 'written.txt').getByRole('button', { name: 'Look: written.txt' }).click()
  const dialog = page.getByRole('dialog', { name: 'written.txt' })
  await dialog.getByText('words of ours').waitFor()
  await dialog.getByText('written words').waitFor()
  await page.keyboard.press('Escape')
  // What is pasted into a field is for the field.
  await page.getByRole('searchbox').focus()
  await page.evaluate(() => {
    const data = new DataTransfer()
    data.setData('text/plain', 'x')
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true }))
  })
  assert.equal(await asking.isVisible(), false)
})
