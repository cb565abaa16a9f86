// thousands.mjs URL COUNT: who scrolls through so many files to the oldest has few of them on the
// page at any moment, and is asked for no patience by any of them.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url, count] = process.argv.slice(2)
const drawnAt = (page, at) => page.locator(`#file-list > li[aria-posinset="${at}"]`)
await visit(url, async (page) => {
  await drawnAt(page, 1).waitFor()
  const all = page.getByText(`${Number(count).toLocaleString('en')} files`, { exact: true })
  const toEnd = () => page.evaluate(() => {
    window.scrollTo(0, document.body.scrollHeight)
    return document.querySelectorAll('*').length
  })
  let most = 0
  let steps = 0
  for (; !(await all.isVisible()); steps += 1) {
    assert.ok(steps < 2000, 'the oldest cannot be reached')
    const coming = page.waitForResponse((it) => it.url().includes('/api/p2p/network')).catch(() => null)
    most = Math.max(most, await toEnd())
    await coming
  }
  most = Math.max(most, await toEnd())
  await drawnAt(page, count).waitFor()
  assert.ok(steps > 50, `${steps}`)
  assert.ok(most < 1500, `${most} elements`)
  // Anywhere between, too.
  for (const part of [0.1, 0.5, 0.9]) {
    await page.evaluate((it) => {
      const list = document.getElementById('file-list')
      window.scrollTo(0, list.offsetTop + it * list.offsetHeight)
    }, part)
    await drawnAt(page, part * count + 1).waitFor()
    assert.ok(await page.locator('#file-list > li').count() < 60)
  }
})
