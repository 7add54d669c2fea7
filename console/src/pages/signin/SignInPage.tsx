import { Alert, Button, Divider, Paper, PasswordInput, Stack, Text, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { type FormEvent, useState } from 'react';

import { api, ask, setCsrf } from '@/api/client';
import { keys } from '@/api/keys';
import { ApiProblem } from '@/api/problem';
import { useWake } from '@/app/live/context';
import { ErrorBox } from '@/ui/ErrorBox';

import { safeNext } from './next';

/** Signing in with a key, or by the identity provider where one is set up. */
export function SignInPage() {
  const { next, error: refused } = useSearch({ from: '/sign-in' });
  const target = safeNext(next);
  const navigate = useNavigate();
  const client = useQueryClient();
  const wake = useWake();
  const [key, setKey] = useState('');
  const ways = useQuery({ queryKey: keys.signInWays, queryFn: ({ signal }) => ask(api.GET('/v1/sign-in', { signal })), staleTime: Infinity });
  const signIn = useMutation({
    mutationFn: (given: string) => ask(api.POST('/v1/sign-in', { body: { key: given } })),
    onSuccess: async (me) => {
      setKey('');
      setCsrf(me.csrf);
      client.clear();
      client.setQueryData(keys.me, me);
      wake();
      await navigate({ href: target, replace: true });
    },
  });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    if (key.trim()) signIn.mutate(key.trim());
  };
  const oidc = ways.data?.oidc ?? '';
  return (
    <Stack component="main" align="center" mt="12vh" px="md">
      <Paper withBorder p="lg" w="100%" maw={420} component="section" aria-labelledby="sign-in">
        <Title order={1} id="sign-in" mb="md">Sign in to Penstock</Title>
        {refused ? <Alert color="red" variant="outline" mb="md" role="alert">The identity provider did not let you in: {refused}</Alert> : null}
        {ways.error ? <ErrorBox error={ways.error} retry={() => void ways.refetch()} /> : null}
        {oidc ? (
          <>
            <Button fullWidth component="a" href={`/v1/sign-in/oidc?next=${encodeURIComponent(target)}`}>Sign in with {oidc}</Button>
            <Divider my="md" label="or" />
          </>
        ) : null}
        <form onSubmit={submit}>
          <Stack gap="sm">
            <PasswordInput
              label="Key"
              description="Begins with pk_. The first one was shown where penstock serve was started."
              value={key}
              onChange={(event) => setKey(event.currentTarget.value)}
              autoComplete="current-password"
              required
              error={signIn.error ? <Refused error={signIn.error} /> : undefined}
            />
            <Button type="submit" loading={signIn.isPending} variant={oidc ? 'default' : 'filled'}>Sign in with a key</Button>
          </Stack>
        </form>
        <Text size="xs" c="var(--quiet)" mt="md">No key? An admin makes one: <code>penstock keys make</code></Text>
      </Paper>
    </Stack>
  );
}

function Refused({ error }: { error: unknown }) {
  const { title, hint } = ApiProblem.of(error);
  return <>{title} {hint}</>;
}
