import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';

import { api, ask } from '@/api/client';
import { useCan } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { accountsOf, watchesOf } from '../model/accounts';
import styles from '../run.module.css';

/** Who answers for a call, as the record says: asked only when it is wanted, as that itself goes on the record. */
export function Accounts({ run, path }: { run: string; path: string }) {
  const can = useCan();
  const [wanted, setWanted] = useState(false);
  const { data, error, refetch } = useQuery({
    queryKey: ['run', run, 'accounts', path], enabled: wanted, staleTime: 60_000,
    queryFn: ({ signal }) => ask(api.GET('/v1/audit/runs/{run}/accounts', { params: { path: { run }, query: { step: path } }, signal })),
  });
  if (!can('audit:read')) return null;
  return (
    <section className={styles.content} data-accounts={data ? true : undefined}>
      <h3>who answers for it</h3>
      {wanted ? null : <p><Button size="compact-xs" variant="default" onClick={() => setWanted(true)}>Look it up</Button> <span className={styles.quiet}>goes on the record; <Link to="/audit" search={{ run }}>proof of this run</Link></span></p>}
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {wanted && !data && !error ? <Loading rows={3} /> : null}
      {data ? accountsOf(data.calls).map((account, i) => (
        <div key={i}>
          <ul>
            {account.parties.map((party, j) => (
              <li key={j}>{party.part}: <strong><Drawn text={party.who} /></strong>{party.at ? <>, <When at={party.at} plain /></> : null} <span className={styles.quiet}><Drawn text={[party.detail, party.source].filter(Boolean).join('; ')} /></span></li>
            ))}
          </ul>
          {account.missing.length > 0 ? <p className={styles.quiet}>the record names nobody for: {account.missing.join(', ')}</p> : null}
        </div>
      )) : null}
      {data && data.watched.length > 0 ? (
        <>
          <p className={styles.quiet}>who watched the run</p>
          <ul data-watched>
            {watchesOf(data.watched).map((one, i) => <li key={i}><strong><Drawn text={one.who} /></strong> {one.how} <span className={styles.quiet}>from <When at={one.since} plain />{one.until ? <> until <When at={one.until} plain /></> : ', still'}</span></li>)}
          </ul>
        </>
      ) : null}
      {data?.calls.length === 0 ? <p className={styles.quiet}>the record names nobody</p> : null}
    </section>
  );
}
