import { Alert, Group, Stack, Text, Title } from '@mantine/core';
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';

import { ApiProblem } from '@/api/problem';
import type { ReleaseShown, ReleaseStep } from '@/api/schema';
import { useCan } from '@/app/session';
import { Empty } from '@/ui/Empty';
import { ErrorBox } from '@/ui/ErrorBox';
import { plural } from '@/ui/format/count';
import { Id } from '@/ui/Id';
import { Loading } from '@/ui/Loading';
import { Drawn, Theirs } from '@/ui/Theirs';
import { When } from '@/ui/When';

import { Decide } from './Decide';
import { Diff } from './Diff';
import { ToAgent, ToAll } from './Links';
import { short } from './model/states';
import { releaseQuery, releasesQuery } from './queries';
import styles from './releases.module.css';
import { StateMark } from './StateMark';

/** One release: how it stands, what it has otherwise, who did what when, and what may be decided. */
export function Release({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(releaseQuery(id));
  const others = useInfiniteQuery({ ...releasesQuery(data?.agent), enabled: data !== undefined });
  const can = useCan();
  if (error && !data) {
    return (
      <Stack gap="md">
        <Title order={1}>Release</Title>
        {ApiProblem.of(error).status === 404 ? <Empty words="There is no release of that id."><ToAll /></Empty> : <ErrorBox error={error} retry={() => void refetch()} />}
      </Stack>
    );
  }
  if (!data) return <Loading rows={8} />;
  return (
    <Stack gap="md" data-release={data.id}>
      <Group gap="sm">
        <Title order={1}>Release <span className={styles.id} title={data.id}>{short(data.id)}</span></Title>
        <StateMark state={data.state} percent={data.percent} />
        <ToAll />
      </Group>
      {error ? <ErrorBox error={error} retry={() => void refetch()} /> : null}
      <Facts release={data} />
      {data.objection === '' ? null : (
        <Alert color="red" variant="outline" title="It is not to be believed here" role="alert"><Text size="sm"><Drawn text={data.objection} />. Nobody can approve it or roll it out, and no worker that trusts other keys runs it.</Text></Alert>
      )}
      {data.problem === '' ? null : (
        <Alert color="red" variant="outline" title="What was decided about it does not count here" role="alert" data-problem><Text size="sm"><Drawn text={data.problem} /></Text></Alert>
      )}
      {data.refusals.length > 0 ? <Refusals release={data} /> : null}
      {can('payloads:read') ? <Diff release={data} others={(others.data?.pages ?? []).flatMap((page) => page.items)} /> : <Text size="sm">What differs, and what it holds, is seen with the right payloads:read.</Text>}
      <Decide release={data} />
      <Steps steps={data.steps} />
      {data.manifest === null ? null : <Holds manifest={data.manifest} />}
    </Stack>
  );
}

function Facts({ release }: { release: ReleaseShown }) {
  return (
    <dl className={styles.facts}>
      <div><dt>agent</dt><dd><ToAgent agent={release.agent} /></dd></div>
      <div><dt>drafted by</dt><dd><Drawn text={release.author} />, <When at={release.drafted_at} plain /></dd></div>
      <div><dt>approved by</dt><dd>{release.approved_by ? <Drawn text={release.approved_by} /> : 'nobody'}</dd></div>
      <div><dt>signed with</dt><dd><code><Drawn text={release.key} /></code></dd></div>
      {release.keys.length > 0 ? <div><dt>decisions signed with</dt><dd><code><Drawn text={release.keys.join(', ')} /></code></dd></div> : null}
      <div><dt>whole id</dt><dd><Id id={release.id} /></dd></div>
    </dl>
  );
}

function Refusals({ release }: { release: ReleaseShown }) {
  return (
    <section aria-labelledby="refusals" data-refusals>
      <Title order={2} id="refusals" mb="xs" c="var(--bad)">{plural(release.refusals.length, 'live worker')} cannot run it</Title>
      <ul className={styles.lines}>{release.refusals.map((one) => <li key={one.worker}><Drawn text={one.worker} />: <Drawn text={one.why} /> <span className={styles.quiet}><When at={one.at} plain /></span></li>)}</ul>
    </section>
  );
}

function Steps({ steps }: { steps: readonly ReleaseStep[] }) {
  return (
    <section aria-labelledby="steps">
      <Title order={2} id="steps" mb="xs">Who did what</Title>
      <ol className={styles.steps} data-steps>
        {steps.toSorted((a, b) => b.number - a.number).map((step) => (
          <li key={step.number}>
            <When at={step.at} plain /> <StateMark state={step.state} percent={step.percent} /> by <Drawn text={step.actor} />{step.reason ? <>: <Drawn text={step.reason} /></> : null}
          </li>
        ))}
      </ol>
    </section>
  );
}

/** All that it is: texts of prompts as they are, the rest as JSON. */
function Holds({ manifest }: { manifest: NonNullable<ReleaseShown['manifest']> }) {
  const { prompts, ...rest } = manifest;
  const texts = typeof prompts === 'object' && prompts !== null ? Object.entries(prompts) : [];
  return (
    <details data-holds>
      <summary>All that it holds</summary>
      {texts.map(([name, text]) => <Theirs key={name} label={`prompt ${name}`} text={String(text)} />)}
      <Theirs label="the rest" text={JSON.stringify(rest, null, 2)} />
    </details>
  );
}
