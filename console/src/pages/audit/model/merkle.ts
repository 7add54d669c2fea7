import { type Bytes, joined, same, sha256 } from './bytes';

/** The hash of a leaf (RFC 6962, 2.1): a leaf can never be taken for a node. */
export const leafHash = (data: Uint8Array): Promise<Bytes> => sha256(joined(Uint8Array.of(0), data));

const nodeHash = (left: Uint8Array, right: Uint8Array): Promise<Bytes> => sha256(joined(Uint8Array.of(1), left, right));

// Bit operations have 32 bits, and sizes more.
const isOdd = (n: number): boolean => n % 2 === 1;
const half = (n: number): number => Math.floor(n / 2);
const isSize = (n: number): boolean => Number.isSafeInteger(n) && n >= 0;

function isPowerOfTwo(n: number): boolean {
  let rest = n;
  while (rest > 1 && !isOdd(rest)) rest = half(rest);
  return rest === 1;
}

/** Whether the leaf of that hash is at that place of the tree with that root (RFC 9162, 2.1.3.2). */
export async function verifyInclusion(leaf: Uint8Array, index: number, size: number, proof: readonly Uint8Array[], root: Uint8Array): Promise<boolean> {
  if (!isSize(index) || !isSize(size) || index >= size) return false;
  let place = index;
  let last = size - 1;
  let found = leaf;
  for (const sibling of proof) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      found = await nodeHash(sibling, found);
      while (!isOdd(place) && place > 0) {
        place = half(place);
        last = half(last);
      }
    } else {
      found = await nodeHash(found, sibling);
    }
    place = half(place);
    last = half(last);
  }
  return last === 0 && same(found, root);
}

/** Whether the tree with the old root is the beginning of that with the other one (RFC 9162, 2.1.4.2). */
export async function verifyConsistency(old: number, size: number, proof: readonly Uint8Array[], oldRoot: Uint8Array, root: Uint8Array): Promise<boolean> {
  if (!isSize(old) || !isSize(size)) return false;
  if (old === size) return proof.length === 0 && same(oldRoot, root);
  if (old === 0 || old > size || proof.length === 0) return false;
  const [first, ...rest] = isPowerOfTwo(old) ? [oldRoot, ...proof] : proof;
  if (!first) return false;
  let place = old - 1;
  let last = size - 1;
  while (isOdd(place)) {
    place = half(place);
    last = half(last);
  }
  let oldFound = first;
  let found = first;
  for (const sibling of rest) {
    if (last === 0) return false;
    if (isOdd(place) || place === last) {
      oldFound = await nodeHash(sibling, oldFound);
      found = await nodeHash(sibling, found);
      while (!isOdd(place) && place > 0) {
        place = half(place);
        last = half(last);
      }
    } else {
      found = await nodeHash(found, sibling);
    }
    place = half(place);
    last = half(last);
  }
  return last === 0 && same(oldFound, oldRoot) && same(found, root);
}
