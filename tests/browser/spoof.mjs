// spoof.mjs URL SHOWN…: names with marks that turn the direction of writing, hide or command are
// shown with escapes wherever they are shown, and read out so.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, ...shown] = process.argv.slice(2)
const UNSAFE = /[\p{Cc}\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/u

// All that the page shows or reads out.
function said() {
  const texts = [document.title, document.body.innerText.replaceAll(/[\n\t]/g, ' ')]
  for (const it of document.querySelectorAll('[title], [aria-label], [alt]')) {
    for (const name of ['title', 'aria-label', 'alt']) texts.push(it.getAttribute(name) ?? '')
  }
  return texts
}

await visit(url, async (page) => {
  const clean = async () => assert.deepEqual((await page.evaluate(said)).filter((it) => UNSAFE.test(it)), [])
  for (const name of shown) {
    const file = row(page, 'Files', name)
    await file.waitFor()
    await clean()
    await file.getByRole('button', { name: `Look: ${name}` }).click()
    const dialog = page.getByRole('dialog', { name })
    await dialog.getByText('said \\u{202e}so\nin two lines').waitFor()
    await clean()
    await dialog.getByRole('button', { name: 'Close' }).click()
  }
  const [name] = shown
  await row(page, 'Files', name).getByRole('button', { name: `Delete: ${name}` }).click()
  const question = page.getByRole('dialog', { name: 'Delete this file?' })
  await question.getByText(name).waitFor()
  await clean()
  await question.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('log').getByText(`${name} was deleted`).waitFor()
  await clean()
  // What is chosen on the page is named so before the node has it.
  const files = ['new \u202egpj.exe'].map((it) => ({ name: it, mimeType: 'text/plain', buffer: Buffer.from('text') }))
  await page.getByLabel('Files to upload').setInputFiles(files)
  await row(page, 'Uploads', 'new \\u{202e}gpj.exe').waitFor()
  await row(page, 'Files', 'new \\u{202e}gpj.exe').waitFor()
  await clean()
  // A folder is called as its files say.
  await page.getByRole('link', { name: 'in \\u{2067}it', exact: true }).click()
  await page.getByRole('navigation', { name: 'Folders' }).getByText('in \\u{2067}it').waitFor()
  await row(page, 'Files', 'inside.txt').waitFor()
  await clean()
})
