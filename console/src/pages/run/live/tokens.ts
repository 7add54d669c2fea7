/** A piece of a model's answer on its way. `offset` counts characters of the attempt. */
export interface TokensSaid {
  readonly path: string;
  readonly attempt: number;
  readonly offset: number;
  readonly text: string;
  readonly reset: boolean;
}

/** What has come of an answer: `cut` when its beginning was let go, or a piece was missed. */
export interface Partial {
  readonly attempt: number;
  readonly text: string;
  readonly offset: number;
  readonly cut: boolean;
}

/** Characters of one answer that are kept: whoever wants all of it reads it when it is there. */
const KEPT = 20_000;
/** Answers under way that are kept at once. */
const ANSWERS_MAX = 50;

export type Partials = ReadonlyMap<string, Partial>;

/** The answers under way after further pieces. An attempt that is repeated begins anew. */
export function withTokens(partials: Partials, said: readonly TokensSaid[]): Partials {
  const next = new Map(partials);
  for (const piece of said) {
    const old = next.get(piece.path);
    if (old && piece.attempt < old.attempt) continue;
    if (piece.reset || !old || piece.attempt > old.attempt || piece.offset === 0) {
      next.delete(piece.path);
      next.set(piece.path, { attempt: piece.attempt, text: piece.text, offset: piece.offset + piece.text.length, cut: piece.offset > 0 });
    } else if (piece.offset > old.offset) {
      next.set(piece.path, { attempt: piece.attempt, text: `${old.text}…${piece.text}`.slice(-KEPT), offset: piece.offset + piece.text.length, cut: true });
    } else {
      const fresh = piece.text.slice(old.offset - piece.offset);
      const text = old.text + fresh;
      next.set(piece.path, { attempt: old.attempt, text: text.slice(-KEPT), offset: old.offset + fresh.length, cut: old.cut || text.length > KEPT });
    }
  }
  for (const path of next.keys()) {
    if (next.size <= ANSWERS_MAX) break;
    next.delete(path);
  }
  return next;
}

/** Without those that are over: their answers are in the journal. */
export function withoutPaths(partials: Partials, over: readonly string[]): Partials {
  if (!over.some((path) => partials.has(path))) return partials;
  const next = new Map(partials);
  for (const path of over) next.delete(path);
  return next;
}
