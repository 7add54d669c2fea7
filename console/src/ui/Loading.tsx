import { Skeleton, Stack } from '@mantine/core';
import { useEffect, useState } from 'react';

/** True once `ms` have gone by: what loads faster shows no skeleton at all. */
export function useLater(ms = 150): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), ms);
    return () => clearTimeout(timer);
  }, [ms]);
  return late;
}

/** A skeleton of `rows` lines, from 150 ms on. */
export function Loading({ rows = 8, height = 20 }: { rows?: number; height?: number }) {
  const late = useLater();
  return (
    <Stack gap={8} aria-busy="true" role="status" aria-label="loading">
      {late ? Array.from({ length: rows }, (_, i) => <Skeleton key={i} height={height} />) : null}
    </Stack>
  );
}
