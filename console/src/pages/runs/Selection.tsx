import { Button, Group, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';

import { count } from '@/ui/format/count';

/** The selected runs, and what can be done with them. */
export function Selection({ chosen, clear }: { chosen: readonly string[]; clear: () => void }) {
  if (chosen.length === 0) return null;
  const [left, right] = chosen;
  return (
    <Group gap="xs" role="status">
      <Text size="sm">{count(chosen.length)} selected</Text>
      {chosen.length === 2 && left && right ? (
        <Button size="compact-sm" renderRoot={(props) => <Link to="/runs/$left/vs/$right" params={{ left, right }} {...props} />}>
          Compare <kbd>c</kbd>
        </Button>
      ) : (
        <Text size="sm" c="var(--quiet)">{chosen.length === 1 ? 'select another to compare' : 'two can be compared'}</Text>
      )}
      <Button size="compact-sm" variant="subtle" onClick={clear}>Clear</Button>
    </Group>
  );
}
