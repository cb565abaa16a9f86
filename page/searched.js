// What is searched for: a part of names, or a pattern with `*` and `?`, as commands have them.

// The pattern that a text is, null where it is none: which part every name has that it means, by
// which the node finds them, and whether it means a name. A pattern without a slash is one of what
// stands behind the last slash of a name, in whichever folder that is.
export function pattern(text) {
  if (!/[*?]/.test(text)) return null
  const wanted = plain(text)
  const source = wanted.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*{2,}\/?|\*|\?/g, matcher)
  const whole = new RegExp(`^${source}$`, 'su')
  const means = (name) => {
    const is = plain(name)
    // Some names have such a sign in them.
    return whole.test(wanted.includes('/') ? is : is.slice(is.lastIndexOf('/') + 1)) || is.includes(wanted)
  }
  const part = text.split(/[*?/]+/).reduce((one, other) => (other.length > one.length ? other : one))
  return { part, means }
}

function matcher(sign) {
  if (sign.startsWith('**')) return sign.endsWith('/') ? '(?:.*/)?' : '.*'
  return sign === '*' ? '[^/]*' : '[^/]'
}

const plain = (text) => text.normalize('NFC').toLowerCase()
