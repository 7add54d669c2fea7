/**
 * Canonical JSON laid out over lines for reading. Only white space is added, and only between tokens: nothing is parsed
 * into values and printed again, so that no digit of a number and no repeated name can get lost.
 */
export function laidOut(text: string): string {
  let out = '';
  let depth = 0;
  for (let i = 0; i < text.length; i += 1) {
    const c = text.charAt(i);
    if (c === '"') {
      const end = stringEnd(text, i);
      out += text.slice(i, end);
      i = end - 1;
    } else if (c === '{' || c === '[') {
      const empty = text.charAt(i + 1) === (c === '{' ? '}' : ']');
      if (empty) {
        out += c + text.charAt(i + 1);
        i += 1;
      } else {
        depth += 1;
        out += c + line(depth);
      }
    } else if (c === '}' || c === ']') {
      depth = Math.max(0, depth - 1);
      out += line(depth) + c;
    } else if (c === ',') {
      out += c + line(depth);
    } else {
      out += c === ':' ? ': ' : c;
    }
  }
  return out;
}

const line = (depth: number): string => '\n' + '  '.repeat(Math.min(depth, 40));

/** The index after a string that begins at `start`, of the end of the text when it has none. */
function stringEnd(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i += 1) {
    const c = text.charAt(i);
    if (c === '\\') i += 1;
    else if (c === '"') return i + 1;
  }
  return text.length;
}

/** A number of the arguments in the unit that people think in. */
export interface InUnits {
  readonly name: string;
  readonly words: string;
}

/**
 * Amounts of the arguments that are named as cents, as people read them: a comma in the wrong place is a hundredfold.
 * Only whole numbers that are exact here; an aid beside the arguments, never in their place.
 */
export function inUnits(args: string): InUnits[] {
  let read: unknown;
  try {
    read = JSON.parse(args);
  } catch {
    return [];
  }
  if (typeof read !== 'object' || read === null || Array.isArray(read)) return [];
  return Object.entries(read).flatMap(([name, value]) => {
    if (!CENTS.test(name) || typeof value !== 'number' || !Number.isSafeInteger(value)) return [];
    return [{ name, words: `${hundredths(value)} (${value.toLocaleString('en-US')} cents)` }];
  });
}

const CENTS = /(^|_)cents$/i;

function hundredths(cents: number): string {
  const size = Math.abs(cents);
  return `${cents < 0 ? '−' : ''}${Math.floor(size / 100).toLocaleString('en-US')}.${String(size % 100).padStart(2, '0')}`;
}

/** A number of an argument, or a median of such, for reading: what is named as cents in the unit that people think in. */
export function numberOf(name: string, value: number): string {
  return CENTS.test(name) ? hundredths(Math.round(value)) : value.toLocaleString('en-US', { maximumFractionDigits: 3 });
}
