import { Paper, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { type ReactNode, useEffect } from 'react';

import type { ControlState } from '@/api/schema';
import { useAnnounce } from '@/app/announce';
import { ErrorBox } from '@/ui/ErrorBox';
import { count, plural } from '@/ui/format/count';
import { clock } from '@/ui/format/time';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import styles from './controls.module.css';
import { type Mark, marks, scopeWords } from './model/scope';
import { OpenList } from './OpenList';
import { controlQuery } from './queries';

const SAID: Record<ControlState['state'], string> = {
  requested: 'requested', not_sealed: 'not sealed', sealed: 'sealed: nothing new starts', quiesced: 'quiesced', lifted: 'lifted',
};
const SHAPE: Record<Mark['state'], string> = { done: '●', now: '◌', 'to come': '○', bad: '×' };

/** How far a stop has come, as the journal has it; it stays on the screen. */
export function Timeline({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(controlQuery(id));
  const { assertive } = useAnnounce();
  const state = data?.state;
  const words = data && state ? `${data.action} ${scopeWords(data.scope)}: ${SAID[state]}` : '';
  useEffect(() => {
    if (words) assertive(words);
  }, [words, assertive]);
  if (error && !data) return <ErrorBox error={error} retry={() => void refetch()} />;
  if (!data) return <Loading rows={5} />;
  return (
    <Paper withBorder p="sm" component="section" aria-labelledby="way" data-control data-state={data.state}>
      <Title order={2} id="way">{data.action} <Drawn text={scopeWords(data.scope)} /></Title>
      <Text size="sm" c="var(--quiet)">by {data.actor}{data.reason ? <>: “<Drawn text={data.reason} />”</> : null}</Text>
      {error ? <Text size="sm" c="var(--bad)" role="alert">The server does not answer; this is how it was.</Text> : null}
      <ol className={styles.way}>
        {marks(data).map((mark) => (
          <li key={mark.name} data-mark={mark.state}>
            <span className={styles.shape} aria-hidden="true">{SHAPE[mark.state]}</span>
            <div><Said control={data} mark={mark} /></div>
          </li>
        ))}
      </ol>
    </Paper>
  );
}

function Said({ control, mark }: { control: ControlState; mark: Mark }): ReactNode {
  switch (mark.name) {
    case 'requested':
      return <>requested <When at={control.at} /></>;
    case 'sealed':
      if (mark.state === 'bad') {
        return (
          <>
            <strong>NOT SEALED:</strong> something that runs in the database holds it up. It is tried on.
            <ul className={styles.list}>{control.blockers.map((one) => <li key={one}><Drawn text={one} /></li>)}</ul>
          </>
        );
      }
      return mark.at === null ? 'being sealed' : <><strong>SEALED</strong> {clock(mark.at)}: {control.scope.kind === 'tool' ? 'no call of it starts' : 'nothing new starts'}</>;
    case 'open':
      if (mark.state !== 'now') return mark.state === 'done' ? 'no call is under way' : 'calls under way';
      return (
        <>
          {plural(control.open_total, 'call')} under way{mark.at === null ? '' : `, the latest ends by ${clock(mark.at)}`}
          <OpenList effects={control.open_effects} total={control.open_total} />
        </>
      );
    case 'quiesced':
      if (mark.state === 'to come') return 'quiesced';
      return (
        <>
          <strong>QUIESCED</strong>{control.in_doubt > 0 ? <>, <strong>{count(control.in_doubt)} in doubt</strong>: whether they happened is being asked</> : ': nothing of it moves'}
          {control.stopped_runs > 0 ? <>; {plural(control.stopped_runs, 'run')} stopped</> : null}
        </>
      );
    case 'lifted':
      return <><strong>lifted</strong> {mark.at === null ? '' : <When at={mark.at} />} {control.lifted_by ? `by ${control.lifted_by}` : ''}</>;
  }
}
