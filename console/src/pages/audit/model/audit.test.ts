import { describe, expect, it, vi } from 'vitest';

import { fromBase64, fromHex, joined, sha256, utf8 } from './bytes';
import { check, type Checked, type Evidence, type Held, type RunEvidence } from './check';
import { leafHash, verifyConsistency, verifyInclusion } from './merkle';
import { readCheckpoint, readNote, readVerifier } from './note';
// Made by the server's own code: a log of eleven leaves under a key that took over after the eighth.
import vector from './vector.json';
import { detailWords, runOf } from './words';

const hexes = (list: readonly string[]) => list.map((one) => fromHex(one)).filter((one) => one !== null);
const pointOf = (note: string) => {
  const point = readCheckpoint(readNote(note)?.text ?? '');
  if (!point) throw new Error('no checkpoint');
  return point;
};
const run: RunEvidence = { id: vector.run, leaf: vector.leaf, index: vector.index, proof: vector.proof, hashOf: async () => '4'.padStart(64, '0') };
const held: Held = { key: vector.keys[0] ?? '', note: vector.held, at: 5 };
const evidence = (over: Partial<Evidence> = {}): Evidence => ({ tenant: vector.tenant, keys: vector.keys, history: vector.history, checkpoint: vector.now, growth: vector.growth, run, ...over });
const wrongOf = ({ findings }: Checked): string => findings.find((one) => one.state === 'wrong')?.name ?? '';

describe('a proof of the server', () => {
  it('is found right, part by part, and the newer checkpoint is held from then on', async () => {
    const checked = await check(evidence(), held, 9);
    expect(checked.findings.map((one) => `${one.name} ${one.state}`)).toEqual(['key fits', 'signature fits', 'growth fits', 'leaf fits', 'inclusion fits', 'event fits']);
    expect(checked).toMatchObject({ size: 11, held: { key: vector.keys[0], note: vector.now, at: 9 } });
  });

  it('is held from the first time on', async () => {
    const checked = await check(evidence({ growth: null, run: null }), null, 9);
    expect(wrongOf(checked)).toBe('');
    expect(checked.held?.note).toBe(vector.now);
    expect((await check(evidence({ growth: [], run: null }), checked.held, 10)).findings.at(-1)?.words).toContain('that this browser saw before');
  });

  it('goes on from the whole of a full tree', async () => {
    expect(wrongOf(await check(evidence({ growth: vector.growth8 }), { ...held, note: vector.old8 }, 9))).toBe('');
  });
});

const flipped = (text: string, at: number): string => text.slice(0, at) + (text[at] === 'a' ? 'b' : 'a') + text.slice(at + 1);
const [first = '', second = ''] = vector.history;
const [key = '', other = ''] = vector.keys;

describe('the first thing that does not fit is named', () => {
  const cases: [string, string, Partial<Evidence>, Held | null][] = [
    ['another first key than the one seen', 'key', {}, { ...held, key: other }],
    ['a key that no statement brought in', 'key', { keys: [key, key] }, held],
    ['a statement that was not signed by the key before', 'key', { history: [first, second.replace(/— .*\n/, '')] }, held],
    ['a statement that was changed', 'key', { history: [first.replace('first', 'other'), second] }, held],
    ['a log of another tenant', 'key', { tenant: 'beta' }, held],
    ['no keys', 'key', { keys: [], history: [] }, held],
    ['a root that was changed', 'signature', { checkpoint: vector.now.replace('DQ9h', 'DQ9i') }, held],
    ['a size that was changed', 'signature', { checkpoint: vector.now.replace('\n11\n', '\n12\n') }, held],
    ['a checkpoint without a signature', 'signature', { checkpoint: vector.now.slice(0, vector.now.indexOf('—')) }, held],
    ['a history that was rewritten', 'growth', { growth: vector.growth.map((one, i) => (i === 1 ? flipped(one, 3) : one)) }, held],
    ['a part of the proof left out', 'growth', { growth: vector.growth.slice(1) }, held],
    ['no proof', 'growth', { growth: null }, held],
    ['a log that became shorter', 'growth', { checkpoint: vector.held, growth: [] }, { ...held, note: vector.now }],
    ['a leaf of another run', 'leaf', { run: { ...run, id: '0'.repeat(36) } }, held],
    ['a leaf that was changed', 'inclusion', { run: { ...run, leaf: vector.leaf.replace('"seq":14', '"seq":15') } }, held],
    ['a leaf of another place', 'inclusion', { run: { ...run, index: 5 } }, held],
    ['an event that was changed', 'event', { run: { ...run, hashOf: async () => 'f'.repeat(64) } }, held],
  ];
  it.each(cases)('%s: %s', async (_, name, over, before) => {
    const checked = await check(evidence(over), before, 9);
    expect(wrongOf(checked)).toBe(name);
    expect(checked.findings.at(-1)?.name).toBe(name);
    // What was held stays: it is the evidence.
    expect(checked.held).toBe(before);
  });
});

it('a browser without Ed25519 says so, checks the rest, and holds nothing new', async () => {
  const real = crypto.subtle.importKey.bind(crypto.subtle);
  vi.spyOn(crypto.subtle, 'importKey').mockImplementation((...args: unknown[]) =>
    args[2] === 'Ed25519' ? Promise.reject(new DOMException('no', 'NotSupportedError')) : (real as (...all: unknown[]) => Promise<CryptoKey>)(...args));
  const checked = await check(evidence(), held, 9);
  expect(checked.findings.map((one) => `${one.name} ${one.state}`)).toEqual(['signature unknown', 'growth fits', 'leaf fits', 'inclusion fits', 'event fits']);
  expect(checked.held).toBe(held);
});

describe('trees', () => {
  const dataOf = (i: number) => utf8(`leaf ${i}`);
  /** RFC 6962, 2.1, word for word. */
  async function rootOf(begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
    if (end - begin === 1) return leafHash(dataOf(begin));
    const k = splitOf(end - begin);
    return sha256(joined(Uint8Array.of(1), await rootOf(begin, begin + k), await rootOf(begin + k, end)));
  }
  const splitOf = (n: number): number => 2 ** Math.floor(Math.log2(n - 1));
  async function pathOf(m: number, begin: number, end: number): Promise<Uint8Array[]> {
    if (end - begin === 1) return [];
    const k = splitOf(end - begin);
    return m < k ? [...(await pathOf(m, begin, begin + k)), await rootOf(begin + k, end)] : [...(await pathOf(m - k, begin + k, end)), await rootOf(begin, begin + k)];
  }
  async function proofOf(m: number, begin: number, end: number, whole: boolean): Promise<Uint8Array[]> {
    const n = end - begin;
    if (m === n) return whole ? [] : [await rootOf(begin, end)];
    const k = splitOf(n);
    return m <= k ? [...(await proofOf(m, begin, begin + k, whole)), await rootOf(begin + k, end)] : [...(await proofOf(m - k, begin + k, end, false)), await rootOf(begin, begin + k)];
  }

  it('of all sizes to 13: every proof is right, and right for nothing else', async () => {
    for (let size = 1; size <= 13; size += 1) {
      const root = await rootOf(0, size);
      for (let i = 0; i < size; i += 1) {
        const path = await pathOf(i, 0, size);
        const leaf = await leafHash(dataOf(i));
        expect(await verifyInclusion(leaf, i, size, path, root)).toBe(true);
        expect(await verifyInclusion(await leafHash(dataOf(i + 1)), i, size, path, root)).toBe(false);
        expect(await verifyInclusion(leaf, i, size, [...path, root], root)).toBe(false);
        if (size > 1) expect(await verifyInclusion(leaf, (i + 1) % size, size, path, root)).toBe(false);
      }
      for (let old = 1; old <= size; old += 1) {
        const proof = await proofOf(old, 0, size, true);
        const before = await rootOf(0, old);
        expect(await verifyConsistency(old, size, proof, before, root)).toBe(true);
        expect(await verifyConsistency(old, size, proof, await leafHash(before), root)).toBe(false);
        expect(await verifyConsistency(old, size, [...proof, root], before, root)).toBe(false);
      }
    }
  });

  it('take no size that is none', async () => {
    const root = pointOf(vector.now).root;
    expect(await verifyInclusion(root, -1, 1, [], root)).toBe(false);
    expect(await verifyInclusion(root, 0.5, 1, [], root)).toBe(false);
    expect(await verifyConsistency(0, 11, hexes(vector.growth), root, root)).toBe(false);
    expect(await verifyConsistency(12, 11, [], root, root)).toBe(false);
  });
});

it('what is no note, key or checkpoint is none', async () => {
  for (const text of ['', 'a\n', 'a\n\n', 'a\n\n— name', 'a\r\n\n— n AAAAAAA=\n', `a\n\n- n ${btoa('12345')}\n`, `a\n\n— n+m ${btoa('12345')}\n`]) expect(readNote(text)).toBeNull();
  for (const text of ['o\n01\nAAAA\n', 'o\n1\n', '\n1\nAAAA\n', `o\n99999999999999999\n${btoa('x'.repeat(32))}\n`]) expect(readCheckpoint(text)).toBeNull();
  expect(await readVerifier(key)).not.toBeNull();
  expect(await readVerifier(key.replace('+b', '+c'))).toBeNull();
  expect([fromBase64('AB=='), fromBase64('A'), fromBase64('AA=A'), fromHex('AB'), fromHex('abc')]).toEqual([null, null, null, null, null]);
});

it('says of an action what its record holds', () => {
  expect(detailWords({ approval: 'ap', reason: '', seen_seconds: 3.5, who: ['a'] })).toBe('approval ap · seen seconds 3.5 · who ["a"]');
  expect(runOf({ action: 'approval.decide', target: vector.run })).toBe(true);
  expect(runOf({ action: 'control.kill', target: 'agent:desk' })).toBe(false);
});
