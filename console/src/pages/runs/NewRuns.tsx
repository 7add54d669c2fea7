import { Button } from '@mantine/core';

import { count, plural } from '@/ui/format/count';

import { COUNTED_MAX } from './arrivals';

/** Runs that came in the meantime, shown when asked for. */
export function NewRuns({ count: fresh, missed, show }: { count: number; missed: boolean; show: () => void }) {
  if (fresh === 0 && !missed) return null;
  const words = fresh > COUNTED_MAX ? `more than ${count(COUNTED_MAX)} new runs` : plural(fresh, 'new run');
  return (
    <Button size="compact-sm" radius="xl" onClick={show}>
      {missed ? 'The stream was cut: read again' : `Show ${words}`}
    </Button>
  );
}
