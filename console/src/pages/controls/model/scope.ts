import type { ControlAsked, ControlShown, ControlState, Me, Scope } from '@/api/schema';

export type Kind = Scope['kind'];
export type Action = ControlAsked['action'];

export const KINDS: readonly Kind[] = ['run', 'session', 'agent', 'release', 'tool', 'customer', 'environment', 'tenant', 'everything'];
export const ACTIONS: readonly Action[] = ['kill', 'pause', 'resume', 'cancel'];

const NAMELESS = new Set<Kind>(['tenant', 'everything']);

/** Whether a scope is one of many, so that its name has to be given. */
export const named = (kind: Kind): boolean => !NAMELESS.has(kind);

/** What may be done to a scope. A cancel asks a run to end by itself, so there is none of a scope. */
export const actionsOf = (kind: Kind): readonly Action[] => (kind === 'run' ? ACTIONS : ACTIONS.filter((action) => action !== 'cancel'));

/** What has to be typed before it is done; null for one run, which is confirmed. */
export function armWord(scope: Pick<Scope, 'kind' | 'name'>, me: Pick<Me, 'tenant' | 'environment'>): string | null {
  if (scope.kind === 'run') return null;
  if (scope.kind === 'tenant') return me.tenant;
  return scope.kind === 'everything' ? me.environment : scope.name;
}

/** A scope in words: "agent support-desk", "everything". */
export const scopeWords = (scope: Pick<Scope, 'kind' | 'name'>): string => (named(scope.kind) ? `${scope.kind} ${scope.name}` : scope.kind === 'tenant' ? 'this tenant' : 'everything');

/** What stopping a tool does: no run ends of it. Of other scopes the runs are what is stopped. */
export const toolWords: Record<Action, string> = {
  kill: 'Its calls are denied: runs are told that it is stopped, and go on without it.',
  pause: 'Its calls wait until it is lifted, and so do the runs that make them.',
  resume: 'Its calls go on. What was denied meanwhile stays denied, unless a run asks again.',
  cancel: '',
};

/** Who stops must say why. */
export const needsReason = (action: Action): boolean => action !== 'resume';

/** Whether it can be lifted again: a run that was killed or cancelled stays so. */
export const liftable = (control: ControlShown): boolean => control.in_force && (control.scope.kind !== 'run' || control.action === 'pause');

/** What is asked for, of an address: only what is known. */
export function fromSearch(search: { readonly scope?: string; readonly name?: string; readonly action?: string }): { kind: Kind; name: string; action: Action } {
  const kind = KINDS.find((one) => one === search.scope) ?? (search.scope === undefined ? 'agent' : 'run');
  const name = named(kind) ? (search.name ?? '') : '';
  const action = actionsOf(kind).find((one) => one === search.action) ?? 'kill';
  return { kind, name, action };
}

/** A mark of the way of a stop. `state`: passed, where it is now, or still to come. */
export interface Mark {
  readonly name: 'requested' | 'sealed' | 'open' | 'quiesced' | 'lifted';
  readonly state: 'done' | 'now' | 'to come' | 'bad';
  readonly at: number | null;
}

/** The way of a stop, in order: requested, sealed, its open calls, quiesced, and lifted if it was. */
export function marks(control: ControlState): Mark[] {
  const { state } = control;
  const sealed = control.sealed_at ?? null;
  const isSealed = state === 'sealed' || state === 'quiesced' || (state === 'lifted' && sealed !== null);
  const quiet = state === 'quiesced';
  const out: Mark[] = [
    { name: 'requested', state: 'done', at: control.at },
    { name: 'sealed', state: state === 'not_sealed' ? 'bad' : isSealed ? 'done' : 'now', at: sealed },
  ];
  if (state !== 'lifted') {
    out.push({ name: 'open', state: quiet ? 'done' : isSealed ? 'now' : 'to come', at: control.latest_end ?? null });
    out.push({ name: 'quiesced', state: quiet ? (control.in_doubt > 0 ? 'bad' : 'done') : 'to come', at: null });
  } else {
    out.push({ name: 'lifted', state: 'done', at: control.lifted_at ?? null });
  }
  return out;
}

/** Whether nothing of a stop moves any more by itself. */
export const settled = (control: Pick<ControlState, 'state'>): boolean => control.state === 'quiesced' || control.state === 'lifted';
