import { Group, NativeSelect, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';

import { ApiProblem } from '@/api/problem';
import type { ReleaseDifference, ReleaseLine, ReleaseShown } from '@/api/schema';
import { ErrorBox } from '@/ui/ErrorBox';
import { Loading } from '@/ui/Loading';
import { Drawn } from '@/ui/Theirs';

import { ToRelease } from './Links';
import { isSchemaChange, lineKind, short, stateWords } from './model/states';
import { diffQuery } from './queries';
import styles from './releases.module.css';

/** What a release has otherwise than another, in words: than the one that is live unless the address says so. */
export function Diff({ release, others }: { release: ReleaseShown; others: readonly ReleaseLine[] }) {
  const search = useSearch({ from: '/inside/releases' });
  const navigate = useNavigate();
  const { live } = release.route;
  const choices = others.filter((one) => one.id !== release.id);
  const against = choices.find((one) => one.id === search.against)?.id ?? '';
  const isAsked = against !== '' || (live !== '' && live !== release.id);
  const { data, error, refetch } = useQuery({ ...diffQuery(release.id, against === '' ? live : against), enabled: isAsked });
  return (
    <section aria-labelledby="diff" data-diff>
      <Group justify="space-between" mb="xs">
        <Title order={2} id="diff">What it has otherwise</Title>
        {choices.length > 0 ? (
          <NativeSelect
            size="xs"
            aria-label="compare with"
            data={[{ value: '', label: 'than what is live' }, ...choices.map((one) => ({ value: one.id, label: `than ${short(one.id)} (${stateWords(one.state)})` }))]}
            value={against}
            onChange={(event) => void navigate({ to: '/releases', search: { ...search, against: event.currentTarget.value }, replace: true })}
          />
        ) : null}
      </Group>
      {!isAsked ? <Text c="var(--quiet)">{live === '' ? 'No release of this agent is live: new runs are as its code says. All that this release holds is below.' : 'It is what is live.'}</Text> : null}
      {error && isAsked ? (ApiProblem.of(error).status === 404 ? <Text role="alert">What it was to be compared with is not there any more.</Text> : <ErrorBox error={error} retry={() => void refetch()} />) : null}
      {isAsked && !error ? (data ? <Found old={data.old} differences={data.differences} /> : <Loading rows={4} />) : null}
    </section>
  );
}

/** The differences, in the server's words. */
export function Found({ old, differences }: { old: string; differences: readonly ReleaseDifference[] }) {
  if (differences.length === 0) return <Text>Nothing differs from <ToRelease id={old} /> but who drafted it.</Text>;
  const tools = differences.flatMap((one) => one.lines.filter((line) => isSchemaChange(one.what, line)));
  return (
    <>
      <Text size="sm" c="var(--quiet)" mb="xs">than {old === '' ? 'the code as it is offered' : <ToRelease id={old} />}</Text>
      {tools.length > 0 ? <Text className={styles.warn} mb="xs" data-tools><span aria-hidden="true">▲ </span>What its tools are, or do, is another: see below, at tools.</Text> : null}
      {differences.map((one) => (
        <div key={one.what}>
          <Title order={3}><Drawn text={one.what} /></Title>
          <ul className={styles.lines}>{one.lines.map((line, i) => <Line key={i} what={one.what} line={line} />)}</ul>
        </div>
      ))}
    </>
  );
}

function Line({ what, line }: { what: string; line: string }) {
  const kind = lineKind(what, line);
  if (kind === 'added') return <li><ins><Drawn text={line} /></ins></li>;
  if (kind === 'removed') return <li><del><Drawn text={line} /></del></li>;
  return <li className={isSchemaChange(what, line) ? styles.warn : undefined}><Drawn text={line} /></li>;
}
