import { fromBase64, fromHex, same, utf8 } from './bytes';
import { leafHash, verifyConsistency, verifyInclusion } from './merkle';
import { type Checkpoint, hasEd25519, isSignedBy, type Note, readCheckpoint, readNote, readVerifier, type Verifier, verifierOf } from './note';

const STATEMENT = 'penstock.audit.key/v1';

/** What this browser keeps of a log: the key that it saw first, and the newest checkpoint that it found right. */
export interface Held {
  readonly key: string;
  readonly note: string;
  /** Microseconds since the epoch, by this machine's clock. */
  readonly at: number;
}

/** What the server gave, all at one checkpoint. */
export interface Evidence {
  readonly tenant: string;
  readonly keys: readonly string[];
  readonly history: readonly string[];
  readonly checkpoint: string;
  /** Hashes in hexadecimal that are to prove that the log has only grown since the checkpoint that is held. */
  readonly growth: readonly string[] | null;
  readonly run: RunEvidence | null;
}

export interface RunEvidence {
  readonly id: string;
  readonly leaf: string;
  readonly index: number;
  readonly proof: readonly string[];
  /** The hash of an event of the run, as the server shows it; null: it shows none. */
  readonly hashOf: (seq: number) => Promise<string | null>;
}

export type Name = 'key' | 'signature' | 'growth' | 'leaf' | 'inclusion' | 'event';

/** One thing that was looked at. `unknown`: it could not be, and nothing is wrong for that. */
export interface Finding {
  readonly name: Name;
  readonly state: 'fits' | 'wrong' | 'unknown';
  readonly words: string;
}

/** What came of it. Looking ends with the first thing that does not fit. `held`: to be kept from now on, if all fits. */
export interface Checked {
  readonly findings: readonly Finding[];
  readonly held: Held | null;
  readonly size: number;
}

class Wrong extends Error {
  readonly what: Name;
  constructor(what: Name, words: string) {
    super(words);
    this.what = what;
  }
}

/** Checks what the server gave against itself and what is held. Everything is computed here; nothing is asked but events. */
export async function check(evidence: Evidence, held: Held | null, now: number): Promise<Checked> {
  const findings: Finding[] = [];
  const fits = (name: Name, words: string): void => void findings.push({ name, state: 'fits', words });
  try {
    const canSign = await hasEd25519();
    const verifiers = await keysOf(evidence, held, canSign);
    if (canSign) fits('key', held ? `The log's keys follow from the one that this browser saw first, ${verifiers.first.id}.` : `The log's key is ${verifiers.first.id}, seen here for the first time: compare it with one that you have from elsewhere.`);
    const { note, point } = await headOf(evidence, verifiers.all, canSign);
    if (canSign) fits('signature', `The checkpoint over ${said(point.size)} is signed by the log ${point.origin}.`);
    else findings.push({ name: 'signature', state: 'unknown', words: 'This browser cannot check Ed25519 signatures: whether the log signed its checkpoint is not known here.' });
    await grown(evidence, held, point, note);
    if (held !== null || canSign) fits('growth', growthWords(held, point.size));
    if (evidence.run) await included(evidence.run, evidence.tenant, point, findings);
    return { findings, held: canSign ? { key: held?.key ?? verifiers.text, note: evidence.checkpoint, at: now } : held, size: point.size };
  } catch (error) {
    if (!(error instanceof Wrong)) throw error;
    return { findings: [...findings, { name: error.what, state: 'wrong', words: error.message }], held, size: 0 };
  }
}

const said = (leaves: number): string => `${leaves.toLocaleString('en-US')} ${leaves === 1 ? 'leaf' : 'leaves'}`;

function growthWords(held: Held | null, size: number): string {
  if (held === null) return `This browser has seen nothing of this log before; from now on it holds it to these ${said(size)}.`;
  const before = sizeOf(held);
  return before === size ? `It is the log that this browser saw before: ${said(size)}.` : `It has only grown since this browser last saw it: from ${before.toLocaleString('en-US')} to ${said(size)}.`;
}

/** The size of the checkpoint that is held; 0: it cannot be read. */
export const sizeOf = (held: Held): number => readCheckpoint(readNote(held.note)?.text ?? '')?.size ?? 0;

/** The log's name, as the key's name and the first line of each checkpoint: `base/tenant`. */
const originOf = (base: string, tenant: string): string => `${base}/${encodeURIComponent(tenant).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)}`;

interface Keys {
  readonly all: readonly Verifier[];
  readonly first: Verifier;
  readonly text: string;
}

/** The keys of the log: each but the first was brought in by a statement that the key before it and it itself signed. */
async function keysOf({ keys, history, tenant }: Evidence, held: Held | null, canSign: boolean): Promise<Keys> {
  const all: Verifier[] = [];
  let before = 'first';
  let old: Verifier | null = null;
  if (keys.length === 0 || keys.length !== history.length) throw new Wrong('key', 'The log has no keys, or does not say how it came by them.');
  for (const [i, statement] of history.entries()) {
    const note = readNote(statement);
    const [kind, base = '', follows, encoded = '', end, ...more] = note?.text.split('\n') ?? [];
    const key = fromBase64(encoded);
    const listed = await readVerifier(keys[i] ?? '');
    if (!note || kind !== STATEMENT || follows !== before || key?.length !== 32 || end !== '' || more.length > 0) throw new Wrong('key', `The statement of key ${i + 1} does not follow from the one before.`);
    if (listed === null || listed.name !== originOf(base, tenant) || !same(listed.key, key)) throw new Wrong('key', `Key ${i + 1} is not the one that its statement brings in for the log of ${tenant}.`);
    const self: Verifier = await verifierOf(base, key);
    for (const signer of canSign ? [old, self] : []) {
      if (signer !== null && !(await isSignedBy(note, signer))) throw new Wrong('key', `The statement of key ${i + 1} is not signed by ${signer === self ? 'that key itself' : 'the key before it'}.`);
    }
    all.push(listed);
    old = self;
    before = encoded;
  }
  const [first] = all;
  const [text] = keys;
  if (!first || text === undefined) throw new Wrong('key', 'The log has no keys.');
  if (held !== null && held.key !== text) throw new Wrong('key', 'The log begins with another key than the one that this browser saw first.');
  return { all, first, text };
}

async function headOf({ checkpoint, tenant }: Evidence, verifiers: readonly Verifier[], canSign: boolean): Promise<{ note: Note; point: Checkpoint }> {
  const note = readNote(checkpoint);
  const point = note && readCheckpoint(note.text);
  if (!note || !point) throw new Wrong('signature', 'The checkpoint cannot be read.');
  if (!verifiers.some((one) => one.name === point.origin)) throw new Wrong('signature', `The checkpoint is of the log ${point.origin}, which is not that of ${tenant}.`);
  if (canSign) {
    const signed = await Promise.all(verifiers.map((one) => isSignedBy(note, one)));
    if (!signed.includes(true)) throw new Wrong('signature', `The checkpoint over ${said(point.size)} is not signed by any key of the log.`);
  }
  return { note, point };
}

async function grown({ growth }: Evidence, held: Held | null, point: Checkpoint, note: Note): Promise<void> {
  if (held === null) return;
  const before = readNote(held.note);
  const old = before && readCheckpoint(before.text);
  if (!before || !old) throw new Wrong('growth', 'What this browser holds of the log cannot be read.');
  if (before.text === note.text) return;
  if (point.size < old.size) throw new Wrong('growth', `The log has become shorter: this browser saw ${said(old.size)}, and now there are ${said(point.size)}.`);
  const proof = growth?.map(fromHex) ?? null;
  const hashes = proof?.filter((one) => one !== null);
  if (!proof || !hashes || hashes.length !== proof.length || !(await verifyConsistency(old.size, point.size, hashes, old.root, point.root))) {
    throw new Wrong('growth', `The log's history was changed: the ${said(old.size)} that this browser saw are not the beginning of the ${said(point.size)} there are now.`);
  }
}

interface Leaf {
  readonly kind?: unknown;
  readonly tenant?: unknown;
  readonly run?: unknown;
  readonly seq?: unknown;
  readonly hash?: unknown;
}

function readLeaf(text: string): Leaf {
  try {
    const read: unknown = JSON.parse(text);
    return typeof read === 'object' && read !== null ? read : {};
  } catch {
    return {};
  }
}

async function included({ id, leaf, index, proof, hashOf }: RunEvidence, tenant: string, point: Checkpoint, findings: Finding[]): Promise<void> {
  const { kind, tenant: whose, run, seq, hash } = readLeaf(leaf);
  if (kind !== 'run' || whose !== tenant || run !== id || typeof seq !== 'number' || typeof hash !== 'string') throw new Wrong('leaf', 'The leaf does not speak of this run.');
  findings.push({ name: 'leaf', state: 'fits', words: `The leaf says that event ${seq} of this run has the hash ${hash.slice(0, 16)}…, and with it all events before.` });
  const hashes = proof.map(fromHex);
  const known = hashes.filter((one) => one !== null);
  if (known.length !== hashes.length || !(await verifyInclusion(await leafHash(utf8(leaf)), index, point.size, known, point.root))) {
    throw new Wrong('inclusion', `The leaf is not in the log at place ${index.toLocaleString('en-US')}: its proof does not lead to the root that was signed.`);
  }
  findings.push({ name: 'inclusion', state: 'fits', words: `The leaf is in the log at place ${index.toLocaleString('en-US')}: its proof leads to the root that was signed.` });
  const shown = await hashOf(seq);
  if (shown === null) findings.push({ name: 'event', state: 'unknown', words: `Event ${seq} itself is not shown by the server any more.` });
  else if (shown !== hash) throw new Wrong('event', `Event ${seq} as the server shows it has another hash than the one in the log.`);
  else findings.push({ name: 'event', state: 'fits', words: `Event ${seq} as the server shows it has the hash that is in the log.` });
}
