import type { ReleaseLine, ReleaseRoute, ReleaseShown } from '@/api/schema';

export type State = ReleaseLine['state'];
export type Act = 'submit' | 'approve' | 'reject' | 'canary' | 'promote' | 'retire';

/** From which states each may be decided: as the server has it, which has the last word. */
const FROM: Readonly<Record<Act, readonly State[]>> = {
  submit: ['draft', 'rejected', 'rolled_back'],
  approve: ['review'],
  reject: ['review', 'approved'],
  canary: ['approved', 'retired', 'canary'],
  promote: ['approved', 'retired', 'canary'],
  retire: ['draft', 'review', 'approved', 'rejected', 'canary', 'live'],
};
const NEEDS: Readonly<Record<Act, string>> = {
  submit: 'releases:manage', approve: 'releases:approve', reject: 'releases:approve', canary: 'releases:manage', promote: 'releases:manage', retire: 'releases:manage',
};
const ACTS = Object.keys(FROM) as Act[];
/** These take the signature at its word. */
const BELIEVE: readonly Act[] = ['approve', 'canary', 'promote'];
const ROLL_OUT: readonly Act[] = ['canary', 'promote'];
/** What may be gone back to: it was approved as it is. */
const READY: readonly State[] = ['approved', 'retired'];

/** As the command line and the records write an id. */
export const short = (id: string): string => id.slice(0, 12);

/** "rolled back". */
export const stateWords = (state: string): string => state.replace('_', ' ');

/** A share as it was given: "5 %", "0.25 %". */
export const percentWords = (percent: number): string => `${Number(percent.toFixed(2))} %`;

/** Who put it up for review last; "" = nobody. */
export const submitter = (release: Pick<ReleaseShown, 'steps'>): string => release.steps.toSorted((a, b) => b.number - a.number).find((step) => step.state === 'review')?.actor ?? '';

/** What somebody may decide about a release, and why not what else would be the next. */
export function mayDecide(release: ReleaseShown, me: { readonly actor: string; readonly can: (permission: string) => boolean }): { readonly acts: readonly Act[]; readonly why: readonly string[] } {
  const why = new Set<string>();
  const acts = ACTS.filter((act) => {
    if (!FROM[act].includes(release.state)) return false;
    if (!me.can(NEEDS[act])) {
      why.add(`To ${act} it takes the right ${NEEDS[act]}.`);
      return false;
    }
    if (BELIEVE.includes(act) && release.objection !== '') return false;
    if (act === 'approve' && (me.actor === release.author || me.actor === submitter(release))) {
      why.add(`You ${me.actor === release.author ? 'drafted it' : 'put it up for review'}: somebody else approves it.`);
      return false;
    }
    if (ROLL_OUT.includes(act) && release.route.canary !== '' && release.route.canary !== release.id) {
      why.add(`${short(release.route.canary)} is the canary: promote it or roll it back first.`);
      return false;
    }
    return true;
  });
  return { acts, why: [...why] };
}

/** The code as it is offered, as what a rollback goes to. */
export const OFFERED = 'offered';

/** What a rollback leads away from, and what new runs get then. `to`: "" = as the server chooses. */
export interface Plan {
  readonly bad: readonly string[];
  readonly then: string;
}

/** What a rollback would do to new runs. */
export function plan(route: ReleaseRoute, to: string): Plan {
  const { live, canary } = route;
  const used = [canary, live].filter((id) => id !== '');
  if (to === '' && canary !== '') return { bad: [canary], then: live === '' ? 'the code as it is offered' : `release ${short(live)}` };
  if (to === '') return { bad: used, then: 'what was live before' };
  if (to === OFFERED) return { bad: used, then: 'the code as it is offered' };
  return { bad: used.filter((id) => id !== to), then: `release ${short(to)}` };
}

/** Releases of an agent that a rollback may go back to by name, the newest first. */
export const goBackTo = (releases: readonly ReleaseLine[], agent: string): readonly ReleaseLine[] => releases.filter((one) => one.agent === agent && READY.includes(one.state));

/** A share of new runs that was typed; null when it is none. From 0.01 to 99.99. */
export function readPercent(text: string): number | null {
  const trimmed = text.trim().replace(/\s*%$/, '');
  if (!/^\d{1,2}(\.\d{1,2})?$/.test(trimmed)) return null;
  const value = Number(trimmed);
  return value >= 0.01 && value <= 99.99 ? value : null;
}

/** Releases by agent, agents in the order in which the newest came, of each the newest first. */
export function byAgent(releases: readonly ReleaseLine[]): ReadonlyMap<string, readonly ReleaseLine[]> {
  const found = new Map<string, ReleaseLine[]>();
  for (const release of releases) {
    const of = found.get(release.agent);
    if (of) of.push(release);
    else found.set(release.agent, [release]);
  }
  return found;
}

/** What a line of a difference is: text that came, text that went, or words about it. Texts come after "+ " or "- ". */
export function lineKind(what: string, line: string): 'added' | 'removed' | 'words' {
  if (!what.startsWith('prompt ')) return 'words';
  return line.startsWith('+ ') ? 'added' : line.startsWith('- ') ? 'removed' : 'words';
}

/** Whether a line of the tools' differences says that the schema that was reviewed is another. */
export const isSchemaChange = (what: string, line: string): boolean => what === 'tools' && (/ has another name, description or schema$/.test(line) || / is (an?|new:|gone)( |$)/.test(line));
