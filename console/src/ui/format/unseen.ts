// Control characters but tab and newline; soft hyphen; zero-width; bidirectional marks, embeddings and isolates;
// line separators; word joiners; variation selectors; byte order mark; tag characters. After Unicode TR 36 and the
// "Trojan Source" list (CVE-2021-42574).
const UNSEEN =
  // eslint-disable-next-line no-control-regex, no-misleading-character-class
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;

const NAMES: Record<number, string> = {
  0x00: 'NUL', 0x0d: 'CR', 0x1b: 'ESC', 0xad: 'SHY', 0x200b: 'ZWSP', 0x200c: 'ZWNJ', 0x200d: 'ZWJ', 0x200e: 'LRM',
  0x200f: 'RLM', 0x202a: 'LRE', 0x202b: 'RLE', 0x202c: 'PDF', 0x202d: 'LRO', 0x202e: 'RLO', 0x2060: 'WJ',
  0x2066: 'LRI', 0x2067: 'RLI', 0x2068: 'FSI', 0x2069: 'PDI', 0xfeff: 'BOM',
};

/** A stretch of text, or the name of one character that would not be seen. */
export interface Piece {
  readonly text: string;
  readonly unseen: boolean;
}

/** Text in pieces: what is seen as it is, and each unseen character by its name, such as "RLO" or "U+00A0". */
export function pieces(text: string): Piece[] {
  const out: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > end) out.push({ text: text.slice(end, match.index), unseen: false });
    const code = match[0].codePointAt(0) ?? 0;
    out.push({ text: NAMES[code] ?? `U+${code.toString(16).toUpperCase().padStart(4, '0')}`, unseen: true });
    end = match.index + match[0].length;
  }
  if (end < text.length || out.length === 0) out.push({ text: text.slice(end), unseen: false });
  return out;
}

/** Text for the clipboard: without unseen characters, without a newline at its end, and how many were taken out. */
export function copyable(text: string): { text: string; removed: number } {
  let removed = 0;
  const plain = text.replace(UNSEEN, () => {
    removed += 1;
    return '';
  });
  return { text: plain.replace(/\n+$/, ''), removed };
}
