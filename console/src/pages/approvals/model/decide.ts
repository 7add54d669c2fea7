import type { ApprovalShown, DecisionGiven } from '@/api/schema';
import type { ApiProblem } from '@/api/problem';

/** A card has to be in the focus and unchanged for so long before a key or button decides. */
export const ARM_MS = 800;
/** A decision can be taken back for so long; then it is sent. */
export const TAKE_BACK_MS = 3_000;

export type Choice = DecisionGiven['decision'];
export type Args = Readonly<Record<string, unknown>>;

/** The answers to each kind of question: what lets it go on, and what does not (which is asked why); null: there is none. */
export const CHOICES: Record<ApprovalShown['question'], { readonly yes: Choice; readonly no: Choice | null }> = {
  may_run: { yes: 'approve', no: 'deny' },
  did_it_happen: { yes: 'happened', no: 'did_not_happen' },
  help: { yes: 'answer', no: null },
};

/** What kind of question it is, and the letters of its answers. */
export const ASKS: Record<ApprovalShown['question'], { readonly words: string; readonly yes: string; readonly no: string }> = {
  may_run: { words: 'May it run?', yes: 'a', no: 'd' },
  did_it_happen: { words: 'It is in doubt: did it happen?', yes: 'h', no: 'n' },
  help: { words: 'It asks what to do.', yes: 'a', no: '' },
};

/** An answer as a command and as a fact. */
export const WORDS: Record<Choice, { readonly does: string; readonly did: string }> = {
  approve: { does: 'Approve', did: 'approved' },
  deny: { does: 'Deny', did: 'denied' },
  edit: { does: 'Allow it as edited', did: 'allowed with other arguments' },
  answer: { does: 'Answer', did: 'answered' },
  happened: { does: 'It happened', did: 'said that it happened' },
  did_not_happen: { does: 'It did not happen', did: 'said that it did not happen' },
};

/** Reasons that the digits give, in their order. */
export const REASONS: Record<ApprovalShown['question'], readonly string[]> = {
  may_run: ['not what was asked for', 'wrong amount', 'wrong customer or record', 'done already', 'against policy', 'facts are missing', 'a person should do it'],
  did_it_happen: ['looked it up there: no trace of it', 'the other system says it failed', 'it was reversed'],
  help: [],
};

/** What decides whether keys and buttons act; times in milliseconds of one clock. */
export interface Attention {
  /** Since when the focus is in the card without a break; null while it is elsewhere. */
  readonly focused: number | null;
  /** When what the card says came or changed. */
  readonly changed: number;
  /** Whether the end of the arguments was in view. */
  readonly endSeen: boolean;
}

/** When the card is armed if nothing changes until then; null: not before something is done. */
export function armedAt(attention: Attention): number | null {
  if (attention.focused === null || !attention.endSeen) return null;
  return Math.max(attention.focused, attention.changed) + ARM_MS;
}

/** What an approval says: if this is another, it has changed and a decision on the old one must not count. */
export function said(approval: Pick<ApprovalShown, 'id' | 'digest' | 'version' | 'args'>): string {
  return [approval.id, approval.version, approval.digest, approval.args].join('\n');
}

interface Given {
  readonly choice: Choice;
  readonly reason: string;
  /** Of an edit: what to call it with; else null. */
  readonly args: Args | null;
}

export type State =
  | { readonly kind: 'looking'; readonly note: string }
  | ({ readonly kind: 'confirming' } & Given)
  | ({ readonly kind: 'reasons' } & Given)
  | { readonly kind: 'editing' }
  | ({ readonly kind: 'sending'; readonly since: number } & Given)
  | ({ readonly kind: 'posting' } & Given)
  | ({ readonly kind: 'unsure' } & Given)
  /** `missing`: it is on the record, and so many others are needed before it counts. */
  | ({ readonly kind: 'done'; readonly at: number; readonly actor: string; readonly missing: number } & Given)
  | { readonly kind: 'lost'; readonly decision: string; readonly actor: string; readonly at: number }
  | { readonly kind: 'locked'; readonly title: string; readonly hint: string; readonly again: boolean };

export type Event =
  /** A key or a button for an answer. `repeat`: the key is held; `armed`: as of the moment of the press. */
  | { readonly kind: 'choose'; readonly choice: Choice; readonly armed: boolean; readonly repeat: boolean; readonly highRisk: boolean; readonly at: number }
  | { readonly kind: 'edited'; readonly args: Args }
  | { readonly kind: 'confirm'; readonly repeat: boolean; readonly at: number }
  | { readonly kind: 'reason'; readonly reason: string; readonly repeat: boolean; readonly highRisk: boolean; readonly at: number }
  | { readonly kind: 'back' }
  | { readonly kind: 'left' }
  | { readonly kind: 'changed' }
  | { readonly kind: 'due'; readonly at: number }
  | { readonly kind: 'again' }
  | { readonly kind: 'taken'; readonly actor: string; readonly at: number; readonly missing?: number }
  | { readonly kind: 'refused'; readonly problem: ApiProblem; readonly me: string }
  | { readonly kind: 'gone'; readonly problem: ApiProblem }
  | { readonly kind: 'expired' }
  | { readonly kind: 'fresh' };

/** Where every question starts. */
export const LOOKING: State = { kind: 'looking', note: '' };

/** States in which nothing has been sent, so that leaving and changes put an end to them. */
const OPEN = new Set<State['kind']>(['looking', 'confirming', 'reasons', 'editing', 'sending']);

/**
 * What comes after an event. Only `due` and `again` lead to `posting`, the one state in which a decision is sent, and
 * `due` only from `sending` after the whole time in which it could be taken back.
 */
export function step(state: State, event: Event): State {
  switch (event.kind) {
    case 'choose':
      return choose(state, event);
    case 'edited':
      // What nobody has seen asked for is never sent without the second step.
      return state.kind === 'editing' ? { kind: 'confirming', choice: 'edit', reason: '', args: event.args } : state;
    case 'confirm':
      if (state.kind !== 'confirming' || event.repeat) return state;
      return { kind: 'sending', ...given(state), since: event.at };
    case 'reason':
      if (state.kind !== 'reasons' || event.repeat || event.reason.trim() === '') return state;
      return { kind: event.highRisk && state.choice === 'did_not_happen' ? 'confirming' : 'sending', ...given(state), reason: event.reason.trim(), since: event.at };
    case 'back':
      return OPEN.has(state.kind) && state.kind !== 'looking' ? { kind: 'looking', note: state.kind === 'sending' ? 'taken back: nothing was sent' : '' } : state;
    case 'left':
      return state.kind === 'sending' || state.kind === 'confirming' ? { kind: 'looking', note: 'you left: nothing was sent' } : state;
    case 'changed':
      if (state.kind === 'looking') return { kind: 'looking', note: 'it has changed: read it again' };
      return OPEN.has(state.kind) ? CHANGED : state;
    case 'due':
      if (state.kind !== 'sending' || event.at - state.since < TAKE_BACK_MS) return state;
      return { kind: 'posting', ...given(state) };
    case 'again':
      return state.kind === 'unsure' ? { kind: 'posting', ...given(state) } : state;
    case 'taken':
      return state.kind === 'posting' ? { kind: 'done', ...given(state), actor: event.actor, at: event.at, missing: event.missing ?? 0 } : state;
    case 'refused':
      return refused(state, event.problem, event.me);
    case 'gone':
      return OPEN.has(state.kind) ? ended(event.problem) : state;
    case 'expired':
      return OPEN.has(state.kind) ? EXPIRED : state;
    case 'fresh':
      return state.kind === 'locked' && state.again ? LOOKING : state;
  }
}

const given = ({ choice, reason, args }: Given): Given => ({ choice, reason, args });

const CHANGED: State = { kind: 'locked', title: 'The question was changed while you decided.', hint: 'Nothing was sent. Read it again as it is now.', again: true };
const EXPIRED: State = { kind: 'locked', title: 'The time to decide is over.', hint: 'The run is told that nobody did.', again: false };

function choose(state: State, event: Extract<Event, { kind: 'choose' }>): State {
  if (state.kind !== 'looking' || event.repeat || !event.armed) return state;
  const { choice } = event;
  if (choice === 'edit') return { kind: 'editing' };
  if (choice === 'deny' || choice === 'did_not_happen' || choice === 'answer') return { kind: 'reasons', choice, reason: '', args: null };
  if (event.highRisk) return { kind: 'confirming', choice, reason: '', args: null };
  return { kind: 'sending', choice, reason: '', args: null, since: event.at };
}

function refused(state: State, problem: ApiProblem, me: string): State {
  if (state.kind !== 'posting') return state;
  const { choice } = state;
  // No answer, or one that says nothing of what became of it: it may be on the record.
  if (problem.code === 'unreachable' || problem.status >= 500) return { kind: 'unsure', ...given(state) };
  const by = decided(problem);
  if (by && by.actor === me && by.decision === choice) return { kind: 'done', ...given(state), actor: me, at: by.at, missing: 0 };
  // The vote that an earlier try has cast without an answer: who had voted before has no buttons.
  const voted = problem.code === 'approval_twice' ? problem.fields : {};
  if (Array.isArray(voted['allowed']) && voted['allowed'].includes(me)) {
    return { kind: 'done', ...given(state), actor: me, at: 0, missing: Math.max(1, Number(voted['needed']) - voted['allowed'].length) };
  }
  return ended(problem);
}

/** What an answer means that is no approval: decided by somebody, withdrawn, changed. */
function ended(problem: ApiProblem): State {
  const by = decided(problem);
  if (by) return { kind: 'lost', ...by };
  if (problem.code === 'approval_expired') return EXPIRED;
  const again = problem.code === 'approval_changed' || problem.code === 'approval_mismatch';
  if (again) return CHANGED;
  return { kind: 'locked', title: problem.title, hint: problem.hint, again: problem.status !== 404 && problem.status !== 403 };
}

function decided(problem: ApiProblem): { decision: string; actor: string; at: number } | null {
  if (problem.code !== 'approval_decided') return null;
  const { decision, actor, at } = problem.fields;
  return { decision: typeof decision === 'string' ? decision : '', actor: typeof actor === 'string' ? actor : '', at: typeof at === 'number' ? at : 0 };
}

/** "key:approver-b approved" of a decision as the server names it. */
export function who(actor: string, decision: string): string {
  const did = decision in WORDS ? WORDS[decision as Choice].did : decision || 'decided';
  return `${actor || 'somebody'} ${did}`;
}
