import { type Bytes, fromBase64, joined, sha256, toHex, utf8 } from './bytes';

/** The kind of signature that logs give (c2sp.org/signed-note): Ed25519, RFC 8032. */
const ED25519 = 1;
const KEY_BYTES = 32;
const ID_BYTES = 4;
const DASH = '— ';

/** A public key under a name. */
export interface Verifier {
  readonly name: string;
  readonly id: string;
  readonly key: Bytes;
}

interface Signature {
  readonly name: string;
  readonly id: string;
  readonly raw: Bytes;
}

/** A text and its signatures; nothing is verified yet. */
export interface Note {
  readonly text: string;
  readonly signatures: readonly Signature[];
}

/** The head of a log: whose, how many leaves, and the tree's root. */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Bytes;
}

const isName = (name: string): boolean => name !== '' && !/[\s+]/.test(name);

/** A public key with the id that its name and bytes give. */
export async function verifierOf(name: string, key: Uint8Array): Promise<Verifier> {
  const hash = await sha256(joined(utf8(`${name}\n`), Uint8Array.of(ED25519), key));
  return { name, id: toHex(hash.slice(0, ID_BYTES)), key: joined(key) };
}

/** A public key of one line, `name+id+key`, or null when it is none or damaged. */
export async function readVerifier(text: string): Promise<Verifier | null> {
  const [name = '', id = '', ...rest] = text.split('+');
  const data = fromBase64(rest.join('+'));
  if (!isName(name) || data === null || data.length !== 1 + KEY_BYTES || data[0] !== ED25519) return null;
  const made = await verifierOf(name, data.slice(1));
  return made.id === id ? made : null;
}

/** A signed note (c2sp.org/signed-note), or null. */
export function readNote(note: string): Note | null {
  const gap = note.lastIndexOf('\n\n');
  // eslint-disable-next-line no-control-regex -- control characters but the line's end are what is looked for
  if (gap < 1 || !note.endsWith('\n') || /[\u0000-\u0009\u000b-\u001f]/.test(note)) return null;
  const signatures: Signature[] = [];
  for (const line of note.slice(gap + 2, -1).split('\n')) {
    const [name = '', encoded = '', ...more] = line.startsWith(DASH) ? line.slice(DASH.length).split(' ') : [];
    const data = fromBase64(encoded);
    if (more.length > 0 || !isName(name) || data === null || data.length <= ID_BYTES) return null;
    signatures.push({ name, id: toHex(data.slice(0, ID_BYTES)), raw: data.slice(ID_BYTES) });
  }
  return { text: note.slice(0, gap + 1), signatures };
}

/** The head that a note's text tells (c2sp.org/tlog-checkpoint), or null. */
export function readCheckpoint(text: string): Checkpoint | null {
  const [origin = '', size = '', encoded = '', ...rest] = text.split('\n');
  const root = fromBase64(encoded);
  if (rest.length === 0 || origin === '' || !/^(0|[1-9]\d{0,15})$/.test(size) || !Number.isSafeInteger(Number(size)) || root?.length !== 32) return null;
  return { origin, size: Number(size), root };
}

/** Whether this browser can check Ed25519: not all do. */
export async function hasEd25519(): Promise<boolean> {
  try {
    await crypto.subtle.importKey('raw', new Uint8Array(KEY_BYTES), 'Ed25519', false, ['verify']);
    return true;
  } catch (error) {
    // Of a key that it does not like it says so in another way than of an algorithm that it does not know.
    return error instanceof DOMException && error.name === 'DataError';
  }
}

/** Whether that key has signed the note: each signature under its name and id must be right, and there must be one. */
export async function isSignedBy(note: Note, verifier: Verifier): Promise<boolean> {
  const found = note.signatures.filter((one) => one.name === verifier.name && one.id === verifier.id);
  if (found.length === 0) return false;
  try {
    const key = await crypto.subtle.importKey('raw', verifier.key, 'Ed25519', false, ['verify']);
    for (const one of found) {
      if (!(await crypto.subtle.verify('Ed25519', key, one.raw, utf8(note.text)))) return false;
    }
    return true;
  } catch {
    return false;
  }
}
