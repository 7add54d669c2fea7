import type { ErrorComponentProps } from '@tanstack/react-router';

import { ApiProblem } from '@/api/problem';
import { ErrorBox } from '@/ui/ErrorBox';

import { Missing } from './Missing';
import { NoRight } from './NoRight';

/** Where a page could not be shown: what is missing, forbidden or broken, each in its own words. */
export function PageError({ error, reset }: ErrorComponentProps) {
  const problem = ApiProblem.of(error);
  if (problem.status === 404) return <Missing />;
  const needs = problem.fields['permission'];
  if (problem.status === 403 && typeof needs === 'string') return <NoRight needs={needs} />;
  return <ErrorBox error={error} retry={reset} />;
}
