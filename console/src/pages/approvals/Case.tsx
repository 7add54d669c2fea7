import { Button, TextInput } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';

import { api, ask } from '@/api/client';
import { keys } from '@/api/keys';
import type { ApprovalShown, CaseLine } from '@/api/schema';
import { useCan, useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { useNow } from '@/ui/now';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './approvals.module.css';
import { casesQuery } from './queries';

/** For how long a case is taken: long enough to look into it, short enough that nobody waits for who has gone home. */
const HELD_SECONDS = 3600;

/** How the case of a question stands, and what the caller may do with it. */
export interface Taking {
  readonly line: CaseLine | undefined;
  readonly isMine: boolean;
  readonly isHeldByOther: boolean;
  readonly take: () => void;
  readonly handBack: (note: string) => void;
  readonly pending: boolean;
  readonly error: unknown;
}

/** Taking over the run that asks. Nothing is shown as taken before the server has said so. */
export function useCase(approval: ApprovalShown, refresh: () => void): Taking {
  const me = useMe().actor;
  const can = useCan();
  const client = useQueryClient();
  const { data } = useQuery(casesQuery);
  const { run, holder } = approval;
  const settled = (): void => {
    void client.invalidateQueries({ queryKey: keys.cases });
    void client.invalidateQueries({ queryKey: keys.approvals });
    refresh();
  };
  const path = { run };
  const take = useMutation({ mutationFn: () => ask(api.POST('/v1/cases/{run}/claim', { params: { path }, body: { seconds: HELD_SECONDS, take_over: false, reason: '' } })), onSettled: settled });
  const back = useMutation({ mutationFn: (note: string) => ask(api.POST('/v1/cases/{run}/hand-back', { params: { path }, body: { note, close: false } })), onSettled: settled });
  const isMine = holder === me;
  const isHeldByOther = holder !== '' && !isMine;
  return {
    line: data?.items.find((item) => item.run === run),
    isMine,
    isHeldByOther,
    take: () => {
      if (can('approvals:decide') && !isHeldByOther && !isMine && !take.isPending) take.mutate();
    },
    handBack: back.mutate,
    pending: take.isPending || back.isPending,
    error: take.error ?? back.error,
  };
}

/** Whose case it is, until when, and how to take it or hand it back. */
export function Case({ approval, taking }: { approval: ApprovalShown; taking: Taking }) {
  const now = useNow();
  const { line, isMine, isHeldByOther } = taking;
  const until = line && line.holder === approval.holder ? line.until : 0;
  return (
    <>
      {isMine || isHeldByOther || line?.assignee || line?.note ? <div className={styles.case} data-case={isMine ? 'mine' : isHeldByOther ? 'other' : 'free'}>
        <p>
          {isMine ? <><strong>You have taken this case over</strong>{until ? <> until <When at={until} /></> : null}: nobody else decides what it asks.</>
            : isHeldByOther ? <><strong>{approval.holder} has taken this case over</strong>{until ? <> until <When at={until} /></> : null}.</>
              : 'Nobody has taken this case over.'}
          {line?.assignee ? <> Assigned to {line.assignee}{line.due ? <>, due <When at={line.due} />{line.due < now ? <strong> (late)</strong> : null}</> : null}.</> : null}
          {line?.note ? <> Handed back with: “<Drawn text={line.note} />”</> : null}
        </p>
        {isMine ? <HandBack taking={taking} /> : null}
      </div> : null}
      {taking.error ? <ErrorBox error={taking.error} /> : null}
    </>
  );
}

function HandBack({ taking }: { taking: Taking }) {
  const [note, setNote] = useState('');
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    taking.handBack(note.trim());
  };
  return (
    <form onSubmit={submit} className={styles.own} data-hand-back>
      <TextInput size="xs" aria-label="note for whoever comes next" placeholder="note for whoever comes next" maxLength={2000} value={note} onChange={(event) => setNote(event.currentTarget.value)} />
      <Button size="compact-sm" type="submit" variant="default" loading={taking.pending}>Hand back</Button>
    </form>
  );
}
