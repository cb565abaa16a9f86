// resume.mjs URL FILE: pauses an upload and goes on, reloads the page in the middle, and goes on
// with the same file only.
import assert from 'node:assert/strict'
import { basename } from 'node:path'
import { row, uploadSpeed, visit } from './browser.mjs'

const [url, file] = process.argv.slice(2)
await visit(url, async (page) => {
  const name = basename(file)
  const setSpeed = await uploadSpeed(page)
  await setSpeed(4 << 20)
  await page.getByLabel('Files to upload').setInputFiles(file)
  const upload = row(page, 'Uploads', name)
  const bar = upload.getByRole('progressbar')
  const beyond = async (part) => page.waitForFunction(
    ([it, share]) => it.value > share * it.max, [await bar.elementHandle(), part])
  await beyond(0.1)
  await upload.getByRole('button', { name: 'Pause' }).click()
  await upload.getByText(/^paused at /).waitFor()
  const goingOn = page.waitForRequest((it) => it.method() === 'PATCH')
  await upload.getByRole('button', { name: 'Resume' }).click()
  assert.ok(Number((await goingOn).headers()['upload-offset']) > 0)
  await beyond(0.3)

  await page.reload()
  await upload.getByText(/^stopped at .*choose the file again to go on$/).waitFor()
  assert.ok(await bar.evaluate((it) => it.value > 0.2 * it.max && it.value < it.max))
  const choose = async (chosen) => {
    const choosing = page.waitForEvent('filechooser')
    await upload.getByRole('button', { name: 'Choose again' }).click()
    await (await choosing).setFiles(chosen)
  }
  // One with the same name is not the same file.
  await choose({ name, mimeType: '', buffer: Buffer.from('another') })
  await page.getByRole('log').getByText(`This is not ${name} as it was.`).waitFor()
  await setSpeed(-1)
  const resumed = page.waitForRequest((it) => it.method() === 'PATCH')
  await choose(file)
  const offset = Number((await resumed).headers()['upload-offset'])
  assert.ok(offset > 0.2 * await bar.evaluate((it) => it.max), `${offset}`)
  await upload.getByText('64.0 MiB uploaded').waitFor()
  await row(page, 'Files', name).waitFor()

  // What is whole is not offered again.
  await page.reload()
  await row(page, 'Files', name).waitFor()
  assert.equal(await upload.count(), 0)
})
