import { Text } from '@mantine/core';

import { ApiProblem } from '@/api/problem';
import { ErrorBox } from '@/ui/ErrorBox';

/** What was asked for was refused, or nobody knows what became of it. */
export function Unsaid({ error }: { error: unknown }) {
  const problem = ApiProblem.of(error);
  if (problem.code !== 'unreachable' && problem.status < 500 && problem.status !== 408) return <ErrorBox error={problem} />;
  return <Text c="var(--bad)" role="alert" mb="xs" data-unsure>The server did not answer: it may have been done. The state shown is as the server last said.</Text>;
}
