import type { ReactNode } from 'react';

import type { RunLine } from '@/api/schema';
import { duration } from '@/ui/format/duration';
import { moment } from '@/ui/format/time';
import { Money } from '@/ui/Money';
import { serverNow, useNow } from '@/ui/now';
import { Outcome } from '@/ui/Outcome';

import styles from './runs.module.css';

interface Column {
  readonly id: string;
  readonly head: string;
  readonly className: string | undefined;
  readonly cell: (run: RunLine) => ReactNode;
}

/** The columns but for the first two (selection, id). Their widths are in runs.module.css. */
export const CELLS: readonly Column[] = [
  { id: 'agent', head: 'agent', className: styles.cut, cell: (run) => <span title={`${run.agent} ${run.release}`}>{run.agent}</span> },
  { id: 'shown', head: 'stands', className: undefined, cell: (run) => <Outcome shown={run.shown} /> },
  { id: 'steps', head: 'steps', className: styles.number, cell: (run) => run.steps },
  { id: 'time', head: 'took', className: styles.number, cell: (run) => <Took run={run} /> },
  { id: 'cost', head: 'cost', className: styles.number, cell: (run) => <Money nano={run.nano} certainty={run.status === 'ended' ? 'exact' : 'partial'} /> },
  { id: 'code', head: 'cause or wait', className: `${styles.cut} ${styles.wide}`, cell: (run) => causeOf(run) },
  { id: 'customer', head: 'customer', className: `${styles.cut} ${styles.wide}`, cell: (run) => run.tags['customer'] ?? '' },
];

export const COLUMNS = [
  { id: 'select', head: 'selected', className: styles.unseenHead },
  { id: 'created', head: 'submitted', className: undefined },
  { id: 'id', head: 'run', className: styles.wide },
  ...CELLS,
];

/** The code of the error, which says more than how the run stands, or what is waited for. */
function causeOf(run: RunLine): string {
  if (run.code) return run.code === run.shown ? '' : run.code;
  return run.waiting.map((one) => `${one.kind} ${one.name}`.trim()).join(', ');
}

/** When a run was submitted: the time of today, the date before. */
export function submitted(run: RunLine): string {
  return moment(run.created_at, serverNow());
}

function Took({ run }: { run: RunLine }) {
  return run.ended_at === null ? <Since at={run.created_at} /> : <>{duration(run.ended_at - run.created_at)}</>;
}

function Since({ at }: { at: number }) {
  const now = useNow();
  return <>{duration(Math.max(0, Math.floor((now - at) / 1_000_000) * 1_000_000))}</>;
}
