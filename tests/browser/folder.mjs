// folder.mjs URL FOLDER COUNT [NOTE]: drops a folder with so many files onto the page, as from a
// window of files; the page says NOTE then.
import assert from 'node:assert/strict'
import { visit } from './browser.mjs'

const [url, folder, count, note] = process.argv.slice(2)
await visit(url, async (page) => {
  await page.getByText('Nothing is here yet.').waitFor()
  const { x, y } = await page.locator('#drop').boundingBox()
  const mouse = await page.context().newCDPSession(page)
  const drag = (type) => mouse.send('Input.dispatchDragEvent', {
    type, x: x + 20, y: y + 20, data: { items: [], files: [folder], dragOperationsMask: 1 },
  })
  await drag('dragEnter')
  await drag('dragOver')
  await page.locator('#drop.over').waitFor()
  await drag('drop')
  if (note) await page.getByText(note).waitFor()
  await page.getByText(`${count} files were uploaded`).waitFor()
  assert.equal(await page.locator('#drop.over').count(), 0)
  await page.getByText(`${count} files`, { exact: true }).waitFor()
})
