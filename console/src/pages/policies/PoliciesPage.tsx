import { Alert, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';

import type { PolicyShown } from '@/api/schema';
import { useCan } from '@/app/session';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';

import { Candidate } from './Candidate';
import { filesWords } from './model/words';
import { policyQuery } from './queries';
import { Rules } from './Rules';
import { Tests } from './Tests';

const COMMAND = 'penstock policy check policy.yaml';

/** What may agents do, who says so, and what would another text change? */
export function PoliciesPage() {
  const can = useCan();
  const { data, error, refetch } = useQuery(policyQuery);
  return (
    <Stack gap="lg">
      <Title order={1}>Policies</Title>
      {error ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      {data ? <InForce policy={data} /> : error ? null : <Loading rows={8} />}
      {can('payloads:read') ? <Candidate inForce={data?.version ?? null} /> : <Text size="sm">To try another text you need the right payloads:read.</Text>}
    </Stack>
  );
}

function InForce({ policy }: { policy: PolicyShown }) {
  const { version, tests } = policy;
  return (
    <>
      {policy.problem === '' ? null : (
        <Alert color="red" variant="outline" title="The files as they are now are not in force" role="alert" data-problem>
          <Text size="sm"><Drawn text={policy.problem} /></Text>
          <Text size="sm">Calls are held to the policy below until they are put right.</Text>
        </Alert>
      )}
      {version === null ? (
        <Empty words="No policy is in force: calls are held to what tools declare and agents are permitted. PENSTOCK_POLICY names a file or a folder." command={COMMAND} />
      ) : (
        <>
          <section aria-labelledby="in-force" data-version={version}>
            <Title order={2} id="in-force" mb="xs">In force</Title>
            <Text>version <Id id={version} /> <Drawn text={filesWords(policy.files)} />{policy.source ? <>, read from <code><Drawn text={policy.source} /></code></> : null}</Text>
            <Text size="sm" c="var(--quiet)">For runs of this server’s process; a release may bring a policy of its own.</Text>
            {tests === null ? null : <Tests tests={tests} />}
          </section>
          <Rules rules={policy.rules} />
        </>
      )}
    </>
  );
}
