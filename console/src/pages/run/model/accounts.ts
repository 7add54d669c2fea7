/** Somebody, in which part, and where the record says so. */
export interface Party {
  readonly who: string;
  readonly part: string;
  readonly source: string;
  readonly detail: string;
  readonly at: number;
}

/** One call, and who answers for it. */
export interface Account {
  readonly parties: readonly Party[];
  readonly missing: readonly string[];
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const fieldsOf = (value: unknown): Readonly<Record<string, unknown>> => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {});

/** Somebody who had the run in their hands, or was to look at it; `until` 0: they still have. */
export interface Watch {
  readonly who: string;
  readonly how: string;
  readonly since: number;
  readonly until: number;
}

const HOW: Readonly<Record<string, string>> = { 'took over': 'took the case over', assigned: 'was to look at it' };

/** Reads who watched a run. */
export function watchesOf(watched: readonly Readonly<Record<string, unknown>>[]): Watch[] {
  return watched.map((one) => {
    const { since, until } = one;
    const how = textOf(one['how']);
    return { who: textOf(one['who']), how: HOW[how] ?? 'held the case', since: typeof since === 'number' ? since : 0, until: typeof until === 'number' ? until : 0 };
  }).filter((one) => one.who !== '');
}

/** Reads who answers for calls. A part for which nobody is named is left out, and is among what is missing. */
export function accountsOf(calls: readonly Readonly<Record<string, unknown>>[]): Account[] {
  return calls.map((call) => ({
    parties: listOf(call['parties']).map(fieldsOf).map((one) => ({
      who: textOf(one['who']), part: textOf(one['part']), source: textOf(one['source']), detail: textOf(one['detail']), at: typeof one['at'] === 'number' ? one['at'] : 0,
    })).filter((one) => one.who !== ''),
    missing: listOf(call['missing']).map(textOf).filter(Boolean),
  }));
}
