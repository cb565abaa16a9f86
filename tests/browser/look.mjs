// look.mjs URL: a text, a picture, a sound and a PDF are looked at without leaving the page, links
// and hashes copied, several files deleted together; on a phone no target is small, nothing scrolls
// sideways, and axe finds nothing wrong, light and dark.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { row, visit } from './browser.mjs'

const [url] = process.argv.slice(2)
const require = createRequire(`${process.env.PACKAGES}/`)
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')

async function check(page, width) {
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= width, 'it scrolls sideways')
  await page.evaluate(`${axe};0`)
  const { violations, passes } = await page.evaluate(() => window.axe.run())
  assert.ok(passes.length > 10)
  assert.deepEqual(violations.map((it) => [it.id, it.nodes.map((node) => node.html)]), [])
}

function tooSmall() {
  const targets = [...document.querySelectorAll('button, a, select, summary, input[type=search], input[type=text], textarea, .choose, .hand-over')]
  const seen = targets.filter((it) => it.checkVisibility() && !it.matches('.skip'))
  return seen.filter((it) => {
    const { width, height } = it.getBoundingClientRect()
    return width < 44 || height < 44
  }).map((it) => it.outerHTML)
}

async function look(page, name) {
  await row(page, 'Files', name).getByRole('button', { name: `Look: ${name}` }).click()
  return page.getByRole('dialog', { name })
}

// What else there is: a folder, the dialog for texts, and the way for a phone.
async function lookFurther(page, width, isPhone) {
  const checked = async () => {
    await check(page, width)
    if (isPhone) assert.deepEqual(await page.evaluate(tooSmall), [])
  }
  await page.getByRole('link', { name: 'in a folder', exact: true }).click()
  await page.getByRole('navigation', { name: 'Folders' }).waitFor()
  await checked()
  await page.getByRole('button', { name: 'Write a text' }).click()
  await page.getByRole('dialog', { name: 'Upload a text' }).waitFor()
  await checked()
  await page.keyboard.press('Escape')
  if (isPhone) await page.getByRole('heading', { name: 'This node', exact: true }).click()
  await page.getByRole('button', { name: 'Open on a phone' }).click()
  await page.getByText('no phone reaches it').waitFor()
  await checked()
  await page.keyboard.press('Escape')
  await lookAtWhatIsDone(page, checked)
}

// While files are uploaded and chosen, and where none has the name that is searched for.
async function lookAtWhatIsDone(page, checked) {
  await page.getByRole('link', { name: 'All files' }).click()
  const files = ['a'.repeat(200), 'short'].map((name) => ({ name, mimeType: 'text/plain', buffer: Buffer.from(name) }))
  await page.getByLabel('Files to upload').setInputFiles(files)
  await page.getByRole('button', { name: 'Clear what is done' }).waitFor()
  await row(page, 'Files', 'short').getByRole('checkbox').check()
  await page.getByText('1 file chosen').waitFor()
  await checked()
  await page.getByRole('searchbox', { name: 'Search files by name' }).fill('no such name')
  await page.getByText('No file has such a name.').waitFor()
  await checked()
  // What is seen next time is what was seen this time.
  await page.evaluate(async (names) => {
    const { files } = await (await fetch('api/p2p/files')).json()
    const made = files.filter((file) => names.includes(file.original_name))
    for (const { file_id: id } of made) await fetch(`api/p2p/file/${id}`, { method: 'DELETE' })
  }, files.map(({ name }) => name))
}

for (const [size, viewport] of [['phone', { width: 320, height: 700 }], ['desktop', { width: 1280, height: 800 }]]) {
  for (const colorScheme of ['light', 'dark']) {
    const isPhone = size === 'phone'
    await visit(url, async (page) => {
      await row(page, 'Files', 'notes.txt').waitFor()
      await check(page, viewport.width)
      if (isPhone) assert.deepEqual(await page.evaluate(tooSmall), [])
      const dialog = await look(page, 'picture.svg.png')
      await page.waitForFunction(() => document.querySelector('#look-show img')?.naturalWidth > 0)
      await check(page, viewport.width)
      if (isPhone) assert.deepEqual(await page.evaluate(tooSmall), [])
      await page.screenshot({ path: `${process.env.SCREENSHOTS}/look-${size}-${colorScheme}.png` })
      await dialog.getByRole('button', { name: 'Close' }).click()
      await lookFurther(page, viewport.width, isPhone)
    }, { viewport, colorScheme, hasTouch: isPhone, isMobile: isPhone })
  }
}

await visit(url, async (page) => {
  let dialog = await look(page, 'page.html')
  // Markup is text.
  await dialog.getByText('<script>alert(1)</script>').waitFor()
  await dialog.getByRole('button', { name: 'Copy the hash' }).click()
  await dialog.getByText('The hash is copied').waitFor()
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^[0-9a-f]{64}$/)
  await dialog.getByRole('button', { name: 'Copy the link' }).click()
  await dialog.getByText('The link is copied').waitFor()
  const link = await page.evaluate(() => navigator.clipboard.readText())
  assert.equal(await (await fetch(link)).text(), '<script>alert(1)</script>')
  await page.keyboard.press('Escape')
  dialog = await look(page, 'sound.wav')
  await page.waitForFunction(() => document.querySelector('#look-show audio')?.duration > 0)
  await page.keyboard.press('Escape')
  const shown = page.waitForResponse((it) => it.url().includes('minutes.pdf') && it.url().includes('inline=1'))
  dialog = await look(page, 'minutes.pdf')
  assert.equal((await shown).status(), 200)
  await page.keyboard.press('Escape')

  for (const name of ['notes.txt', 'page.html']) await row(page, 'Files', name).getByRole('checkbox').check()
  await page.getByText('2 files chosen').waitFor()
  await page.locator('#chosen').getByRole('button', { name: 'Delete' }).click()
  const question = page.getByRole('dialog', { name: 'Delete these files?' })
  await question.getByText('No other node has a copy of any of them.').waitFor()
  await question.getByRole('button', { name: 'Delete' }).click()
  await page.getByRole('log').getByText('2 files were deleted').waitFor()
  await row(page, 'Files', 'notes.txt').waitFor({ state: 'detached' })
  assert.equal(await page.locator('#chosen').isVisible(), false)
}, { permissions: ['clipboard-read', 'clipboard-write'] })
