// Lists that change while somebody uses them.

// Has `list` show exactly these rows in this order. What is in its place already is not moved,
// as that would take away the focus, and a click that has only begun.
export function setRows(list, rows) {
  const wanted = new Set(rows)
  for (const row of [...list.children]) if (!wanted.has(row)) row.remove()
  let place = list.firstElementChild
  for (const row of rows) {
    if (row === place) place = place.nextElementSibling
    else list.insertBefore(row, place)
  }
}
