// phone.mjs URL PICTURE [TOKEN]: the code that leads a phone to the node, as a picture; with a token
// first the one that hands it over, which then is used.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url, picture, token] = process.argv.slice(2)

await visit(url, async (page) => {
  const dialog = page.getByRole('dialog', { name: 'On the phone beside you' })
  const open = () => page.getByRole('button', { name: 'Open on a phone' }).click()
  if (token) {
    const asking = page.getByRole('dialog', { name: 'This node asks for a token' })
    await asking.getByLabel('Token').fill(token)
    await page.keyboard.press('Enter')
    await page.getByText('live', { exact: true }).waitFor()
  }
  await open()
  if (picture === 'none') {
    await dialog.getByText('no phone reaches it').waitFor()
    const command = await dialog.locator('pre').textContent()
    assert.match(command, /^LARDER_TOKEN=[0-9a-f]{32} larder … --listen 0\.0\.0\.0:\d+$/)
    return
  }
  const code = dialog.getByRole('img', { name: 'The address as a QR code' })
  await code.screenshot({ path: `${picture}.png` })
  if (!token) return
  await dialog.getByLabel('Hand over my token').check()
  await code.screenshot({ path: `${picture}-token.png` })
  // On the other device, which knows nothing yet.
  await page.evaluate(() => sessionStorage.clear())
  const asked = []
  page.on('request', (it) => asked.push(it.url()))
  await page.goto('about:blank')
  await page.goto(`${url}#token=${encodeURIComponent(token)}`)
  await page.getByText('Nothing is here yet.').waitFor()
  await page.getByText('live', { exact: true }).waitFor()
  assert.equal(page.url(), url)
  assert.deepEqual(asked.filter((it) => it.includes(token) && !it.includes('#')), [])
  assert.equal(await page.getByRole('dialog').count(), 0)
}, { refusals: token ? 401 : undefined })
