import type { ChildShown } from '@/api/schema';

import { grouped } from './group';

/** Runs of a family up to this number are all drawn; beyond, like siblings become one. */
export const DRAWN_MAX = 200;

/** A run of a family, or several like ones (`count`), in the order of the tree. */
export interface Agent {
  readonly id: string;
  readonly parent: string | null;
  readonly agent: string;
  readonly shown: string;
  readonly nano: number;
  readonly depth: number;
  readonly count: number;
  readonly firstFailed: boolean;
}

/**
 * The family below a run as a tree, parents first. Above `DRAWN_MAX` runs, siblings without runs below them that are of
 * one agent and ended alike are one; the one that failed first stays alone.
 */
export function familyOf(children: readonly ChildShown[], root: { run: string; agent: string; shown: string; nano: number }, all = false): { agents: Agent[]; hidden: number } {
  const below = grouped(children, (child) => child.parent);
  const folds = !all && children.length + 1 > DRAWN_MAX;
  const agents: Agent[] = [{ id: root.run, parent: null, agent: root.agent, shown: root.shown, nano: root.nano, depth: 0, count: 1, firstFailed: false }];
  const seen = new Set([root.run]);
  const walk = (parent: string, depth: number): void => {
    const mine = (below.get(parent) ?? []).filter((child) => !seen.has(child.run));
    const groups = grouped(mine, (child) => (folds && !below.has(child.run) && !child.first_failed ? `${child.agent} ${child.outcome ?? child.status}` : child.run));
    for (const group of groups.values()) {
      const [first] = group;
      if (!first) continue;
      for (const child of group) seen.add(child.run);
      agents.push({
        id: first.run, parent, agent: first.agent, shown: first.outcome ?? first.status, depth, count: group.length,
        nano: group.reduce((sum, child) => sum + child.nano, 0), firstFailed: first.first_failed,
      });
      if (group.length === 1) walk(first.run, depth + 1);
    }
  };
  walk(root.run, 1);
  const hidden = agents.reduce((sum, agent) => sum + agent.count - 1, 0);
  return { agents, hidden };
}
