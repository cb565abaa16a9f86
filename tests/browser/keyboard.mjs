// keyboard.mjs URL NAME: deletes a file without a mouse, and looks at the page in every size
// and theme. Pictures go to SCREENSHOTS.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, name] = process.argv.slice(2)
const SIZES = { phone: { width: 390, height: 844 }, desktop: { width: 1280, height: 800 } }
for (const [size, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    await visit(url, async (page) => {
      await row(page, 'Files', name).waitFor()
      await page.getByText('1 peer', { exact: true }).waitFor()
      const wide = await page.evaluate(() => document.documentElement.scrollWidth)
      assert.ok(wide <= viewport.width, `${size} scrolls sideways: ${wide}`)
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/${size}-${colorScheme}.png` })
    }, { viewport, colorScheme })
  }
}
await visit(url, async (page) => {
  await row(page, 'Files', name).waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  assert.match(page.url(), /#files$/)
  await page.keyboard.press('Tab')
  await page.keyboard.type(name)
  await page.getByText('1 file found').waitFor()
  const button = page.getByRole('button', { name: `Delete: ${name}` })
  for (let steps = 0; !(await button.evaluate((it) => it === document.activeElement)); steps += 1) {
    assert.ok(steps < 10, 'the button cannot be reached')
    await page.keyboard.press('Tab')
  }
  await page.keyboard.press('Enter')
  const question = page.getByRole('dialog', { name: 'Delete this file?' })
  await question.waitFor()
  await page.keyboard.press('Escape')
  await question.waitFor({ state: 'hidden' })
  await page.keyboard.press('Enter')
  await question.waitFor()
  await page.keyboard.press('Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('log').getByText(`${name} was deleted`).waitFor()
  await row(page, 'Files', name).waitFor({ state: 'detached' })
})
