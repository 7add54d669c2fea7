"""The policy that a process works under: read when it starts, and again when its files change."""

import logging
from collections.abc import Mapping

from penstock.kernel.clock import Clock
from penstock.kernel.errors import PolicyInvalid
from penstock.ports.policies import PolicySource, Stamp
from penstock.rules.policy.policy_set import PolicySet

LOOK_SECONDS = 0.25
"""How often the files are looked at, when calls ask: a look is a few system calls."""
SETTLED_SECONDS = 0.3
"""A change younger than this may be half written; half a policy may well be a policy, and one with fewer rules."""

_logger = logging.getLogger("penstock.policy")


class PolicyGuard:
    """Hands out the policy in force.

    What cannot be read at the start refuses the start. What cannot be read later is not taken: the old policy stays in
    force, and ``problem`` says why. Files that are taken away altogether are such a problem, too.
    """

    def __init__(self, source: PolicySource, clock: Clock) -> None:
        """Read the policy.

        Raises:
            PolicyInvalid: it cannot be.
        """
        self.source = source
        self.problem: PolicyInvalid | None = None
        self._clock = clock
        self._pinned: dict[str, PolicySet] = {}
        self._stamp = self._seen = source.stamp()
        self._looked_ns = self._seen_ns = clock.boot_ns()
        self.current = PolicySet.compile(source.read())
        _logger.info("policy %s of %s is in force", self.current.version, source.place)

    @property
    def version(self) -> str:
        """Of the policy in force for whatever has none of its own."""
        return self.current.version

    def pin(self, release: str, policy: PolicySet) -> None:
        """Let runs of a release be held to a policy of its own, whatever the files say."""
        self._pinned[release] = policy

    def unpin(self, release: str) -> None:
        """Let them be held to the files again."""
        self._pinned.pop(release, None)

    def for_run(self, agent: str, release: str, environment: str) -> PolicySet:
        """The policy in force now for a run of this agent."""
        pinned = self._pinned.get(release)
        if pinned is not None:
            return pinned
        now_ns = self._clock.boot_ns()
        if now_ns - self._looked_ns >= LOOK_SECONDS * 1e9:
            self._looked_ns = now_ns
            self._look(now_ns)
        return self.current

    def reload(self) -> PolicySet:
        """Read the files now, changed or not; the policy in force afterwards.

        Raises:
            PolicyInvalid: they cannot be; the old policy stays in force.
        """
        self._stamp = self._seen = self.source.stamp()
        try:
            self._take(self.source.read())
        except PolicyInvalid as error:
            self.problem = error
            raise
        return self.current

    def _look(self, now_ns: int) -> None:
        stamp = self.source.stamp()
        if stamp == self._stamp:
            return
        if stamp != self._seen:
            self._seen, self._seen_ns = stamp, now_ns
        if not self._is_settled(stamp, now_ns):
            return
        try:
            texts = self.source.read()
            if self.source.stamp() != stamp:
                return
            self._stamp = stamp
            self._take(texts)
        except PolicyInvalid as error:
            self._stamp = stamp
            self.problem = error
            _logger.error("the changed policy is not taken, %s stays in force: %s", self.version, error)

    def _is_settled(self, stamp: Stamp, now_ns: int) -> bool:
        """Whether it was changed long enough ago, by its own times or because it was seen so before."""
        if now_ns - self._seen_ns >= SETTLED_SECONDS * 1e9:
            return True
        newest_us = max((changed for _, changed, _, _ in stamp), default=0) // 1000
        return 0 < newest_us <= self._clock.now_us() - int(SETTLED_SECONDS * 1e6)

    def _take(self, texts: Mapping[str, str]) -> None:
        policy = PolicySet.compile(texts)
        self.problem = None
        if policy.version != self.current.version:
            _logger.warning("policy %s is in force in place of %s", policy.version, self.current.version)
        self.current = policy
