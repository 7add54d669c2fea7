"""The whole engine in one process: simulated processes, a simulated store, a simulated outside, seeded faults.

loop.py         the event loop: fake time, processes that can be killed and stopped at any await
store.py        the database: sessions, row locks, the advisory lock, statements, commits
line.py         a process's connections to it: latency, lost requests, lost answers, commits that come late
client.py       the journal as a process sees it
outside.py      receivers of effects, tools, isolation, the model: what really happened
programs.py     random agents
actors.py       workers, submitters, people who decide and stop
faults.py       what goes wrong, and when
invariants.py   what must be true afterwards
seeds.py        one seed from beginning to end
"""
