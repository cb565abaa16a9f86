// pictures.mjs URL NAME DIRECTORY: the page as README shows it, once the file NAME and a peer are
// there: in every size and theme.
import { row, visit } from './browser.mjs'

const [url, name, directory] = process.argv.slice(2)
const SIZES = {
  phone: { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true },
  desktop: { viewport: { width: 1280, height: 800 } },
}
for (const [size, options] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    await visit(url, async (page) => {
      await row(page, 'Files', name).waitFor()
      // On a phone it is folded.
      await page.getByText('1 peer', { exact: true }).waitFor({ state: 'attached' })
      await page.getByText('live', { exact: true }).waitFor()
      await page.screenshot({ path: `${directory}/page-${size}-${colorScheme}.png` })
    }, { ...options, colorScheme })
  }
}
