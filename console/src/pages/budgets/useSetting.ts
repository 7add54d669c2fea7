import { useState } from 'react';

import { api, ask } from '@/api/client';
import { ApiProblem } from '@/api/problem';

import type { Written } from './model/draft';

/** What became of what was asked for. `unsure`: there was no answer. */
export type Setting = { readonly kind: 'idle' } | { readonly kind: 'asking' } | { readonly kind: 'unsure' } | { readonly kind: 'failed'; readonly problem: ApiProblem };

/** Sets a budget, once a press: the page goes on when the server has said that it is set. */
export function useSetting(done: (name: string) => void): { setting: Setting; put: (name: string, written: Written) => void } {
  const [setting, setSetting] = useState<Setting>({ kind: 'idle' });
  const put = (name: string, written: Written): void => {
    if (setting.kind === 'asking') return;
    setSetting({ kind: 'asking' });
    ask(api.PUT('/v1/budgets/{name}', { params: { path: { name } }, body: written })).then(
      () => {
        setSetting({ kind: 'idle' });
        done(name);
      },
      (error: unknown) => {
        const problem = ApiProblem.of(error);
        setSetting(problem.code === 'unreachable' || problem.status >= 500 ? { kind: 'unsure' } : { kind: 'failed', problem });
      },
    );
  };
  return { setting, put };
}
