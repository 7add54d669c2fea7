import { Button, Group, Text } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useEffect, useRef, useState } from 'react';

import { api, ask } from '@/api/client';
import { ApiProblem } from '@/api/problem';

/** Lifts a budget, after a second press: then it limits nothing, and what was spent from it is forgotten. */
export function Remove({ name }: { name: string }) {
  const [sure, setSure] = useState(false);
  const confirm = useRef<HTMLButtonElement>(null);
  const client = useQueryClient();
  const navigate = useNavigate();
  const remove = useMutation({
    mutationFn: () => ask(api.DELETE('/v1/budgets/{name}', { params: { path: { name } } })),
    onSuccess: () => {
      void navigate({ to: '/costs/budgets', search: {} }).then(() => client.invalidateQueries({ queryKey: ['budgets'] }));
    },
  });
  useEffect(() => {
    if (sure) confirm.current?.focus();
  }, [sure]);
  return (
    <Group gap="sm" ml="auto">
      {remove.error ? <Text size="sm" c="var(--bad)" role="alert">{ApiProblem.of(remove.error).title}</Text> : null}
      {sure ? (
        <>
          <Button ref={confirm} color="red" loading={remove.isPending} onKeyDown={(event) => event.repeat && event.preventDefault()} onClick={() => remove.mutate()}>Yes: lift it, forget its accounts</Button>
          <Button variant="default" onClick={() => setSure(false)}>No</Button>
        </>
      ) : <Button variant="default" onClick={() => setSure(true)}>Lift…</Button>}
    </Group>
  );
}
