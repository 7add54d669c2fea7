import { Alert, Button, Group, Text } from '@mantine/core';

import { ApiProblem } from '@/api/problem';

/** An error: its code, what happened, what to do, and another try. */
export function ErrorBox({ error, retry }: { error: unknown; retry?: () => void }) {
  const problem = ApiProblem.of(error);
  return (
    <Alert color="red" variant="outline" title={problem.title} role="alert">
      {problem.hint ? <Text size="sm">{problem.hint}</Text> : null}
      <Group mt="xs" gap="sm">
        {retry ? <Button size="compact-sm" variant="default" onClick={retry}>Try again</Button> : null}
        <Text size="xs" c="var(--quiet)">
          <code>{problem.code}</code>
          {problem.instance ? <> · request <code>{problem.instance}</code></> : null}
        </Text>
      </Group>
    </Alert>
  );
}
