import type { PolicyChecked, PolicyRuleShown, PolicyShown, PolicyText } from '@/api/schema';

import { type Routes, route } from './route';
import { DAY, HOUR, NOW, SEEDS } from './seed';

const HOSTILE = '<b onmouseover=alert(1)>\u202egnp';
const day = (at: number): string => new Date(at / 1000).toISOString().slice(0, 10);
const rule = (over: Partial<PolicyRuleShown> & Pick<PolicyRuleShown, 'name' | 'then' | 'line'>): PolicyRuleShown => ({ owner: 'finance', reviewed: day(NOW - 12 * DAY), reason: '', when: {}, unless: {}, approvers: null, file: 'refunds.yaml', ...over });

const VERSION = '5f1c2be09a7d4e3386b1d0a95c7e42f8813d6a90be27c4415f0a9d3e7b618c2d';
const rules: PolicyRuleShown[] = [
  rule({ name: 'small-refunds', then: 'allow', line: 3, reason: 'Below $50 a check costs more than it saves.', when: { tool: 'refund', 'args.amount_cents': { min: 1, max: 5000 }, 'sum(args.amount_cents) over refund': { max: 10000 } } }),
  rule({ name: 'large-refunds', then: 'hold', line: 13, reviewed: day(NOW - 402 * DAY), reason: 'Four eyes above $500.', when: { tool: 'refund', 'args.amount_cents': { above: 50000 } }, approvers: { roles: ['finance'], count: 2, seconds: 86_400, escalate_to: ['finance-lead'], escalate_after_seconds: 14_400 } }),
  rule({ name: 'nothing-on-a-strangers-word', then: 'hold', line: 24, owner: 'security', reason: `What was read from outside may have asked for it. ${HOSTILE}`, when: { effect: 'write', taint: 'any' }, unless: { tool: ['send_reply', 'escalate'] } }),
  rule({ name: 'no-shell', then: 'deny', line: 3, file: 'tools.yaml', owner: 'security', reason: 'Nobody needs it.', when: { tool: 'shell*', environment: { not: 'development' } } }),
];
const tests = {
  run: 3, failed: 1, untested: ['no-shell'], problem: '',
  items: [
    { name: 'the third one is over the sum, and waits', file: 'refunds.test.yaml', line: 6, passed: false, words: 'expected hold, was allow by small-refunds' },
    { name: 'a small refund goes', file: 'refunds.test.yaml', line: 3, passed: true, words: '' },
    { name: 'a text is no amount', file: 'refunds.test.yaml', line: 11, passed: true, words: '' },
  ],
};
const inForce: PolicyShown = {
  version: VERSION, source: '/etc/penstock/policy', files: ['refunds.test.yaml', 'refunds.yaml', 'tools.yaml'], rules, tests,
  problem: "refunds.yaml:8:7: 'tol' is nothing that a rule can ask about; did you mean 'tool'?",
};
const none: PolicyShown = { version: null, source: '', files: [], rules: [], tests: null, problem: '' };
const nothing: PolicyChecked = { version: null, problems: [], tests: null, changes: [], findings: [], calls: [], unproved: '', replay: null };

/** A policy whose files were broken since. Of a text, each `tol:` is a mistake, the rest what a looser rule would change. */
export const policyRoutes: Routes = {
  'GET /v1/policies': route<'/v1/policies', 'get'>(() => (new URLSearchParams(location.search).has('quiet') ? none : inForce)),
  'POST /v1/policies/check': route<'/v1/policies/check', 'post'>(({ body }) => {
    const { files, replay_days: days } = body as PolicyText;
    const problems = Object.entries(files).flatMap(([file, text]) =>
      text.split('\n').flatMap((line, i) => (line.includes('tol:') ? [{ file, line: i + 1, column: line.indexOf('tol:') + 1, what: "'tol' is nothing that a rule can ask about", fix: "did you mean 'tool'?" }] : [])),
    );
    if (problems.length > 0) return { ...nothing, problems };
    const since = NOW - days * DAY;
    return {
      ...nothing, version: 'a3'.repeat(32), tests: { ...tests, failed: 0, items: tests.items.map((one) => ({ ...one, passed: true, words: '' })) },
      changes: [{ rule: 'small-refunds', how: 'changed', lines: ['when: args.amount_cents min 1; max 6000, was min 1; max 5000'] }, { rule: 'no-shell', how: 'removed', lines: ['denies when tool shell*'] }],
      calls: [{ kind: 'newly_allow', words: 'what was held before, is now allowed, by small-refunds', rules: ['small-refunds'], place: '', example: { tool: 'refund', effect: 'write', risk: 'medium', args: { amount_cents: 5001, note: HOSTILE } } }],
      findings: [{ kind: 'overlap', words: 'small-refunds allows what nothing-on-a-strangers-word holds: the stricter wins', rules: ['small-refunds'], place: 'refunds.yaml:3:5', example: { tool: 'refund', effect: 'write', risk: 'medium', args: { amount_cents: 1 }, taint: { search_web: 'untrusted' } } }],
      replay: days === 0 ? null : {
        policy: 'a3'.repeat(32), since, runs: 200, calls: 1_482, changed: 31, unread: 2, whole: false,
        changes: [{ was: 'hold', now: 'allow', tool: 'refund', calls: 30 }, { was: 'deny', now: 'hold', tool: HOSTILE, calls: 1 }],
        examples: [{ run: SEEDS.five, path: '3', agent: 'support-desk', tool: 'refund', was: 'hold', now: 'allow', rule: 'small-refunds', reason: '', at: NOW - 5 * HOUR }],
      },
    };
  }),
};
