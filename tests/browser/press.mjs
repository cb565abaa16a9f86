// press.mjs URL NAME: however a row is pressed, what comes meanwhile does not take the click away,
// and is drawn after it.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, name] = process.argv.slice(2)

// A page on which ages can be made to change, and everything that is done from time to time be done.
function rememberIntervals() {
  const begin = window.setInterval
  window.intervals = []
  window.setInterval = (does, every) => {
    window.intervals.push(does)
    return begin(does, every)
  }
  const { now } = Date
  window.later = 0
  Date.now = () => now() + window.later
}

// Has all be drawn again, an hour later: from time to time, and as where the window changes.
async function redraws() {
  window.later += 3_600_000
  for (const does of window.intervals) does()
  window.dispatchEvent(new Event('resize'))
  // Frames are drawn in order.
  await new Promise((drawn) => { requestAnimationFrame(() => requestAnimationFrame(drawn)) })
}

// Uploads another file, which stands above all others, and waits until the page has read of it.
async function comes(page, another) {
  const told = page.waitForResponse(async (it) => it.url().includes('api/p2p/network') && (await it.text()).includes(another))
  const query = new URLSearchParams({ name: another })
  await fetch(`${url}api/p2p/upload?${query}`, { method: 'POST', body: another })
  await (await told).finished()
}

async function touched(page) {
  const session = await page.context().newCDPSession(page)
  return (type, touchPoints) => session.send('Input.dispatchTouchEvent', { type, touchPoints })
}

// How a button is pressed and let go.
const WAYS = {
  mouse: async (page, button) => {
    await button.hover()
    await page.mouse.down()
    return () => page.mouse.up()
  },
  key: async (page, button) => {
    await button.focus()
    await page.keyboard.down(' ')
    return () => page.keyboard.up(' ')
  },
  finger: async (page, button) => {
    const { x, y, width, height } = await button.boundingBox()
    const touch = await touched(page)
    await touch('touchStart', [{ x: x + width / 2, y: y + height / 2 }])
    return () => touch('touchEnd', [])
  },
}

for (const [way, press] of Object.entries(WAYS)) {
  await visit(url, async (page) => {
    await page.addInitScript(rememberIntervals)
    await page.reload()
    const file = row(page, 'Files', name)
    await file.getByText('just now').or(file.getByText(' ago')).waitFor()
    const before = await file.elementHandle()
    const release = await press(page, file.getByRole('button', { name: `Look: ${name}` }))
    await page.evaluate(redraws)
    const another = `came under a ${way}.txt`
    await comes(page, another)
    await page.evaluate(redraws)
    assert.ok(await before.evaluate((it) => it.isConnected), `a row is made anew under a ${way}`)
    await release()
    await page.getByRole('dialog', { name }).waitFor()
    await row(page, 'Files', another).waitFor()
    await page.keyboard.press('Escape')
    await page.evaluate(redraws)
    await file.getByText('3 hours ago').waitFor()
    assert.equal(await before.evaluate((it) => it.isConnected), false)
  }, { hasTouch: way === 'finger' })
}

// A press that no click follows ends, too.
await visit(url, async (page) => {
  const file = row(page, 'Files', name)
  await file.getByRole('button', { name: `Look: ${name}` }).hover()
  await page.mouse.down()
  await page.evaluate(() => window.dispatchEvent(new Event('blur')))
  await comes(page, 'came after a press.txt')
  await row(page, 'Files', 'came after a press.txt').waitFor()
})
