import type { CacheRow } from '@/api/schema';

import { type Routes, route } from './route';
import { HOUR, NOW } from './seed';

const figures = { hits: 0, waited: 0, misses: 0, hit_rate: null, saved_nano: 0, saved_tokens: 0, calls: 0, tokens_in: 0, tokens_cached: 0, tokens_written: 0, prompt_cache_rate: null };
const rows: CacheRow[] = [
  { ...figures, gate: 'model', agent: 'support-desk', name: 'gpt-5-mini', hits: 4_120, waited: 211, misses: 9_004, hit_rate: 0.314, saved_nano: 31_200_000_000, saved_tokens: 8_100_000, calls: 12_480, tokens_in: 41_000_000, tokens_cached: 16_800_000, tokens_written: 2_100_000, prompt_cache_rate: 0.41 },
  { ...figures, gate: 'tool', agent: 'support-desk', name: 'get_account', hits: 903, misses: 2_112, hit_rate: 0.2995, saved_nano: 0 },
];

export const cacheRoutes: Routes = {
  'GET /v1/cache': route<'/v1/cache', 'get'>(({ query }) => {
    const quiet = new URLSearchParams(location.search).has('quiet');
    return {
      since: Number(query.get('since') ?? NOW - 24 * HOUR), until: Date.now() * 1000, as_of: Date.now() * 1000, entries: quiet ? 0 : 8_211, bytes: quiet ? 0 : 12_400_000, rows: quiet ? [] : rows, left_out: quiet ? 0 : 3,
      total: quiet ? figures : { ...figures, hits: 5_023, waited: 211, misses: 11_116, hit_rate: 0.311, saved_nano: 31_200_000_000, saved_tokens: 8_100_000, calls: 12_480, tokens_in: 41_000_000, tokens_cached: 16_800_000, tokens_written: 2_100_000, prompt_cache_rate: 0.41 },
    };
  }),
};
