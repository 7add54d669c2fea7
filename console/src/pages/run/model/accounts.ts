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

/** Reads who answers for calls. A part for which nobody is named is left out, and is among what is missing. */
export function accountsOf(calls: readonly Readonly<Record<string, unknown>>[]): Account[] {
  return calls.map((call) => ({
    parties: listOf(call['parties']).map(fieldsOf).map((one) => ({
      who: textOf(one['who']), part: textOf(one['part']), source: textOf(one['source']), detail: textOf(one['detail']), at: typeof one['at'] === 'number' ? one['at'] : 0,
    })).filter((one) => one.who !== ''),
    missing: listOf(call['missing']).map(textOf).filter(Boolean),
  }));
}
