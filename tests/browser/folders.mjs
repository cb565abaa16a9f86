// folders.mjs URL ARCHIVE CHOSEN: folders open as folders and the way leads back; one of them and two
// chosen files are downloaded as archives.
import assert from 'node:assert/strict'
import { row, visit } from './browser.mjs'

const [url, archive, chosen] = process.argv.slice(2)

async function saved(page, click, path) {
  const coming = page.waitForEvent('download')
  await click()
  const file = await coming
  assert.equal(await file.failure(), null)
  await file.saveAs(path)
  return file.suggestedFilename()
}

await visit(url, async (page) => {
  const files = page.getByRole('list', { name: 'Files', exact: true })
  const way = page.getByRole('navigation', { name: 'Folders' })
  await row(page, 'Files', 'photos').getByText(/^3 files/).waitFor()
  assert.equal(await files.getByRole('listitem').count(), 3)
  await page.getByText('5 files', { exact: true }).waitFor()
  await files.getByRole('link', { name: 'photos', exact: true }).click()
  await row(page, 'Files', 'a.jpg').waitFor()
  await row(page, 'Files', '2026 & more').getByText(/^2 files/).waitFor()
  assert.equal(await files.getByRole('listitem').count(), 2)
  assert.equal(await page.evaluate(() => document.activeElement.id), 'files')
  await files.getByRole('link', { name: '2026 & more', exact: true }).click()
  await row(page, 'Files', 'b.jpg').waitFor()
  await row(page, 'Files', 'c #1.jpg').waitFor()
  await way.getByText('2026 & more').waitFor()
  const name = await saved(page, () => way.getByRole('link', { name: 'Download all of the folder photos/2026 & more' }).click(), archive)
  assert.equal(name, '2026 & more.zip')

  // What was typed into the address, and the way back.
  await page.reload()
  await row(page, 'Files', 'b.jpg').waitFor()
  await page.goBack()
  await row(page, 'Files', 'a.jpg').waitFor()
  await way.getByRole('link', { name: 'All files' }).click()
  await row(page, 'Files', 'notes.txt').waitFor()
  assert.equal(await way.isVisible(), false)

  // What is searched for is looked for in all folders, and told with them.
  const search = page.getByRole('searchbox', { name: 'Search files by name' })
  await search.fill('b.jpg')
  await row(page, 'Files', 'photos/2026 & more/b.jpg').waitFor()
  // Patterns are those of commands, wherever a file lies where they have no slash.
  for (const [wanted, told, names] of [
    ['*.JPG', '3 files found', ['photos/2026 & more/b.jpg', 'photos/2026 & more/c #1.jpg', 'photos/a.jpg']],
    ['?.jpg', '2 files found', ['photos/2026 & more/b.jpg', 'photos/a.jpg']],
    ['photos/*.jpg', '1 file found', ['photos/a.jpg']],
    ['photos/**/*.jpg', '3 files found', ['photos/2026 & more/b.jpg', 'photos/2026 & more/c #1.jpg', 'photos/a.jpg']],
    ['*', '5 files found', ['minutes.txt', 'photos/a.jpg']],
    ['*.none', 'No file has such a name.', []],
  ]) {
    await search.fill(wanted)
    await page.getByText(told, { exact: true }).waitFor()
    for (const name of names) await row(page, 'Files', name).waitFor()
    assert.equal(await files.getByRole('listitem').count(), Number.parseInt(told) || 0, wanted)
  }
  await search.fill('')
  for (const it of ['notes.txt', 'minutes.txt']) await row(page, 'Files', it).getByRole('checkbox').check()
  const bar = page.locator('#chosen')
  await bar.getByText('2 files chosen').waitFor()
  assert.equal(await saved(page, () => bar.getByRole('button', { name: 'Download' }).click(), chosen), 'files.zip')
})
