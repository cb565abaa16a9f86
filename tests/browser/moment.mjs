// moment.mjs URL NAME TIME: where clocks are 5:45 ahead, the row of the file NAME has TIME as the exact
// time at which it came, and so has what is told of the file.
import { row, visit } from './browser.mjs'

const [url, name, time] = process.argv.slice(2)
await visit(url, async (page) => {
  await row(page, 'Files', name).getByTitle(time).waitFor()
  await row(page, 'Files', name).getByRole('button', { name: `Look: ${name}` }).click()
  await page.getByRole('dialog', { name }).getByText(time).waitFor()
}, { timezoneId: 'Asia/Kathmandu' })
