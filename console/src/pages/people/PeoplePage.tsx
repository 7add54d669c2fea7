import { Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';

import type { DelegationLine } from '@/api/schema';
import { useCan, useMe } from '@/app/session';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';

import { HandOn } from './HandOn';
import { sides } from './people';
import styles from './people.module.css';
import { delegationsQuery } from './queries';
import { Right } from './Right';
import { Titles } from './Titles';

/** Who decides, and by whose right? */
export function PeoplePage() {
  const can = useCan();
  const me = useMe().actor;
  const { data, error, refetch } = useQuery({ ...delegationsQuery, enabled: can('approvals:decide') });
  const found = sides(data?.items ?? [], me);
  return (
    <Stack gap="md">
      <div className={styles.head}><Title order={1}>People</Title><Link to="/approvals/{-$id}" params={{ id: undefined }}>What waits for them</Link></div>
      {!can('approvals:decide') ? <Text>Rights to decide are seen with the right approvals:decide.</Text> : null}
      {error && !data ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {can('approvals:decide') && !data && !error ? <Loading rows={5} /> : null}
      {data ? (
        <>
          <Rights id="given" title="What you handed on" items={found.given} none="You have handed on nothing." />
          <HandOn roles={data.roles} whyNot={data.why_not} />
          <Rights id="taken" title="What was handed to you" items={found.taken} none="Nobody has handed you their right." />
          {can('keys:manage') ? <Rights id="others" title="What others handed on" items={found.others} none="Nobody else has handed anything on." /> : null}
        </>
      ) : null}
      {can('keys:manage') ? <Titles /> : null}
    </Stack>
  );
}

function Rights({ id, title, items, none }: { id: string; title: string; items: readonly DelegationLine[]; none: string }) {
  return (
    <section aria-labelledby={id} data-rights={id}>
      <Title order={2} id={id} mb="xs">{title}</Title>
      {items.length === 0 ? <Text size="sm" c="var(--quiet)">{none}</Text> : <ul className={styles.list}>{items.map((one) => <Right key={one.id} right={one} />)}</ul>}
    </section>
  );
}
