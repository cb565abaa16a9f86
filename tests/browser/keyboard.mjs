// keyboard.mjs URL NAME: uploads and deletes a file without a mouse, and looks at the page in
// every size and theme. Pictures go to SCREENSHOTS.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, name] = process.argv.slice(2)
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } }
for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    await visit(url, async (page) => {
      await row(page, 'Files', name).waitFor()
      // On a phone it is folded.
      await page.getByText('1 peer', { exact: true }).waitFor({ state: 'attached' })
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      assert.ok(wide <= viewport.width, `${size} scrolls sideways: ${wide}`)
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/${size}-${colorScheme}.png` })
    }, { viewport, colorScheme })
  }
}

// Presses Tab until this has the focus.
async function tabTo(page, target) {
  for (let steps = 0; !(await target.evaluate((it) => it === document.activeElement)); steps += 1) {
    assert.ok(steps < 10, `${target} cannot be reached`)
    await page.keyboard.press('Tab')
  }
}

await visit(url, async (page) => {
  // Waited for from the start: until the browser knows of it, a chooser is opened for nobody.
  const choosing = page.waitForEvent('filechooser')
  await tabTo(page, page.getByRole('button', { name: 'Choose files' }))
  await page.keyboard.press('Enter')
  const typed = { name: 'typed.txt', mimeType: 'text/plain', buffer: Buffer.from('typed') }
  await (await choosing).setFiles(typed)
  await row(page, 'Files', typed.name).waitFor()
})

async function uploadOnceMore(name) {
  const query = new URLSearchParams({ name })
  const { files: [file] } = await (await fetch(`api/p2p/files?${query}`)).json()
  const body = await (await fetch(`api/p2p/file/${file.file_id}`)).blob()
  await fetch(`api/p2p/upload?${query}`, { method: 'POST', body })
}

await visit(url, async (page) => {
  await row(page, 'Files', name).waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  assert.match(page.url(), /#files$/)
  await page.keyboard.press('Tab')
  await page.keyboard.type(name)
  await page.getByText('1 file found').waitFor()
  await tabTo(page, page.getByRole('button', { name: `Delete: ${name}` }))
  await page.keyboard.press('Enter')
  const question = page.getByRole('dialog', { name: 'Delete this file?' })
  await question.waitFor()
  // What has the focus again afterwards is another one where the row was made anew.
  const before = await page.locator(`[aria-label="Delete: ${name}"]`).elementHandle()
  await page.evaluate(uploadOnceMore, name)
  await page.waitForFunction((it) => !it.isConnected, before)
  await page.keyboard.press('Escape')
  await question.waitFor({ state: 'hidden' })
  // A moment later: the browser tells the page of the end behind all else.
  await page.waitForFunction((label) => document.activeElement?.ariaLabel === label, `Delete: ${name}`)
  await page.keyboard.press('Enter')
  await question.waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('log').getByText(`${name} was deleted`).waitFor()
  await row(page, 'Files', name).waitFor({ state: 'detached' })
})
