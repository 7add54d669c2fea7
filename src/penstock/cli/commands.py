"""Every command, in the order in which the help shows them. A new one is a file and a line here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its function, which is imported when it is needed."""

    name: str
    place: str  # module:function
    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """Commands under a common word."""

    name: str
    text: str
    entries: tuple[Entry, ...]


COMMANDS: tuple[Entry | Group, ...] = (
    Entry("demo", "penstock.cli.demo:demo", "Work real tickets three ways, and prove what holds"),
    Entry("run", "penstock.cli.run:run", "Run an agent on one input"),
    Entry("serve", "penstock.cli.serve:serve", "Serve the API and the console"),
    Entry("worker", "penstock.cli.worker:worker", "Work on runs until told to stop"),
    Entry("mcp", "penstock.cli.mcp:mcp", "Serve the tools of MCP servers through the tool gate"),
    Group(
        "runs",
        "Look at runs, replay them, steer them",
        (
            Entry("ls", "penstock.cli.runs.ls:ls", "List runs, newest first"),
            Entry("show", "penstock.cli.runs.show:show", "Draw a run's span tree"),
            Entry("tail", "penstock.cli.runs.tail:tail", "Follow a run's events as they are written"),
            Entry("why", "penstock.cli.runs.why:why", "Name the first cause of a run's failure, and how far it spread"),
            Entry("waits", "penstock.cli.runs.waits:waits", "Draw who waits for whom"),
            Entry("send", "penstock.cli.runs.send:send", "Send an event to a run, or to a name and key"),
            Entry("replay", "penstock.cli.runs.replay:replay", "Run the code against the record, without acting"),
            Entry("cancel", "penstock.cli.runs.steer:cancel", "End a run and its children as cancelled"),
            Entry("pause", "penstock.cli.runs.steer:pause", "Let a run start nothing more until it is resumed"),
            Entry("resume", "penstock.cli.runs.steer:resume", "Take a pause off a run"),
            Entry("release", "penstock.cli.runs.steer:release", "Let a quarantined run go on"),
            Entry("stranded", "penstock.cli.stranded:stranded", "List runs whose code no worker offers"),
            Entry("adopt", "penstock.cli.adopt:adopt", "Let a run go on under other code"),
        ),
    ),
    Group(
        "approvals",
        "Decide what waits for a person",
        (
            Entry("ls", "penstock.cli.approvals.ls:ls", "List what waits for a person"),
            Entry("show", "penstock.cli.approvals.show:show", "Show one question with its exact arguments"),
            Entry("approve", "penstock.cli.approvals.decide:approve", "Let a call go ahead"),
            Entry("deny", "penstock.cli.approvals.decide:deny", "Refuse a call"),
            Entry("edit", "penstock.cli.approvals.decide:edit", "Let a call go ahead with other arguments"),
            Entry("answer", "penstock.cli.approvals.decide:answer", "Answer an agent that asks what to do"),
            Entry("batch", "penstock.cli.approvals.batch:batch", "Decide on all that one rule matches"),
            Entry("happened", "penstock.cli.approvals.decide:happened", "Settle a doubt: the call took effect"),
            Entry("did-not-happen", "penstock.cli.approvals.decide:did_not_happen", "Settle a doubt: it did not"),
            Entry("cases", "penstock.cli.approvals.cases:cases", "List runs that wait for people"),
            Entry("claim", "penstock.cli.approvals.cases:claim", "Take a case into your own hands"),
            Entry("hand-back", "penstock.cli.approvals.cases:hand_back", "Let go of it"),
            Entry("assign", "penstock.cli.approvals.cases:assign", "Say who is to look at it, and until when"),
            Entry("delegate", "penstock.cli.approvals.people:delegate", "Hand your right to decide on for a time"),
            Entry("delegations", "penstock.cli.approvals.people:delegations", "List the rights that are handed on"),
            Entry("end-delegation", "penstock.cli.approvals.people:end_delegation", "Take a right back"),
            Entry("person", "penstock.cli.approvals.people:person", "Say who an actor is"),
            Entry("people", "penstock.cli.approvals.people:people", "List what is known of actors"),
            Entry("keygen", "penstock.cli.approvals.keygen:keygen", "Make a key that signs decisions"),
        ),
    ),
    Group(
        "schedules",
        "Run agents again and again",
        (
            Entry("add", "penstock.cli.schedules.add:add", "Run an agent at the times of a pattern or an interval"),
            Entry("ls", "penstock.cli.schedules.show:ls", "List schedules"),
            Entry("show", "penstock.cli.schedules.show:show", "Show one schedule"),
            Entry("next", "penstock.cli.schedules.show:upcoming", "Show its next times"),
            Entry("pause", "penstock.cli.schedules.steer:pause", "Fire it no more until it is resumed"),
            Entry("resume", "penstock.cli.schedules.steer:resume", "Fire it again"),
            Entry("fire", "penstock.cli.schedules.steer:fire", "Make one run of it now, out of turn"),
            Entry("rm", "penstock.cli.schedules.steer:rm", "Forget it"),
        ),
    ),
    Group(
        "triggers",
        "Start runs when events come",
        (
            Entry("add", "penstock.cli.triggers.add:add", "Start a run of an agent for each event of a name"),
            Entry("ls", "penstock.cli.triggers.show:ls", "List triggers"),
            Entry("show", "penstock.cli.triggers.show:show", "Show one trigger, and its events that failed"),
            Entry("pause", "penstock.cli.triggers.steer:pause", "Take no events until it is resumed"),
            Entry("resume", "penstock.cli.triggers.steer:resume", "Take events again"),
            Entry("retry", "penstock.cli.triggers.steer:retry", "Try events that failed again"),
            Entry("rm", "penstock.cli.triggers.steer:rm", "Forget it"),
        ),
    ),
    Group(
        "documents",
        "What sessions hold, and what agents share",
        (
            Entry("ls", "penstock.cli.documents.show:ls", "List documents"),
            Entry("show", "penstock.cli.documents.show:show", "Show what a document holds"),
            Entry("history", "penstock.cli.documents.show:history", "List its versions"),
            Entry("restore", "penstock.cli.documents.steer:restore", "Go back to an older version"),
            Entry("release", "penstock.cli.documents.steer:release", "Let a quarantined one be used again"),
            Entry("erase", "penstock.cli.documents.steer:erase", "Erase its content"),
        ),
    ),
    Group(
        "queue",
        "What is queued, who comes first, what is blocked",
        (
            Entry("ls", "penstock.cli.queue.ls:ls", "Show queues, their pace, and sessions that hold runs up"),
            Entry("weight", "penstock.cli.queue.weight:weight", "Give a customer more or less than one share"),
        ),
    ),
    Group(
        "costs",
        "What runs have spent",
        (
            Entry(
                "by", "penstock.cli.costs.by:by", "Show it by customer, feature, agent, model, what was paid for, ..."
            ),
            Entry("explain", "penstock.cli.costs.explain:explain", "Say why a customer's runs cost what they cost"),
            Entry("export", "penstock.cli.costs.export:export", "Write it as CSV, Parquet or FOCUS"),
            Entry("reconcile", "penstock.cli.costs.reconcile:reconcile", "Compare it with a provider's usage file"),
            Entry(
                "rerate",
                "penstock.cli.costs.rerate:rerate",
                "Rate calls anew at corrected prices, beside what was billed",
            ),
            Entry("rerates", "penstock.cli.costs.rerate:rerates", "List what was rated anew"),
            Entry("rebuild", "penstock.cli.costs.rebuild:rebuild", "Add it up anew from the journal"),
        ),
    ),
    Group(
        "cache",
        "Answers that are given again",
        (
            Entry("show", "penstock.cli.cache.show:show", "Show how often it served, and what that saved"),
            Entry("clear", "penstock.cli.cache.clear:clear", "Drop what it holds"),
        ),
    ),
    Group(
        "limits",
        "Rate limits that all workers share",
        (
            Entry("ls", "penstock.cli.limits.ls:ls", "Show the limits, their use, and who waits"),
            Entry("set", "penstock.cli.limits.set:set_limit", "Set or change a limit"),
            Entry("remove", "penstock.cli.limits.set:remove", "Lift a limit"),
        ),
    ),
    Group(
        "budgets",
        "Budgets above the task, which all workers share",
        (
            Entry("ls", "penstock.cli.budgets.ls:ls", "List the budgets and how they stand"),
            Entry("show", "penstock.cli.budgets.ls:show", "Show a budget and its accounts"),
            Entry("set", "penstock.cli.budgets.set:set_budget", "Set or change a budget"),
            Entry("raise", "penstock.cli.budgets.set:raise_budget", "Add to a budget's limits"),
            Entry("remove", "penstock.cli.budgets.set:remove", "Lift a budget"),
        ),
    ),
    Group(
        "breakers",
        "Circuit breakers",
        (
            Entry("ls", "penstock.cli.breakers.ls:ls", "List the breakers and how they stand"),
            Entry("show", "penstock.cli.breakers.ls:show", "Show a breaker, and what tripped it"),
            Entry("set", "penstock.cli.breakers.set:set_breaker", "Set or change a breaker"),
            Entry("trip", "penstock.cli.breakers.switch:trip", "Open a circuit by hand"),
            Entry("reset", "penstock.cli.breakers.switch:reset", "Close a circuit"),
            Entry("remove", "penstock.cli.breakers.switch:remove", "Take a breaker away"),
        ),
    ),
    Group(
        "policy",
        "What agents may do with tools",
        (
            Entry("check", "penstock.cli.policy.check:check", "Read a policy, and prove what can be proved of it"),
            Entry("test", "penstock.cli.policy.test:run_tests", "Run the tests beside a policy"),
            Entry("explain", "penstock.cli.policy.explain:explain", "Say what a policy makes of a call, and why"),
            Entry("diff", "penstock.cli.policy.diff:diff", "Say what a change of a policy changes"),
            Entry("replay", "penstock.cli.policy.replay:replay", "Read the journal under a policy"),
        ),
    ),
    Group(
        "environments",
        "What tools stand for, know and reach here",
        (
            Entry("show", "penstock.cli.environments.show:show", "Show what is in force here"),
            Entry("check", "penstock.cli.environments.check:check", "Say what would be missing here"),
        ),
    ),
    Group(
        "releases",
        "Review, roll out and roll back what agents are told",
        (
            Entry("ls", "penstock.cli.releases.ls:ls", "List releases, newest first"),
            Entry("show", "penstock.cli.releases.ls:show", "Show a release, and what became of it"),
            Entry("draft", "penstock.cli.releases.draft:draft", "Keep a release of an agent, signed"),
            Entry("submit", "penstock.cli.releases.steer:submit", "Put it up for review"),
            Entry("approve", "penstock.cli.releases.steer:approve", "Approve what somebody else drafted"),
            Entry("reject", "penstock.cli.releases.steer:reject", "Reject it"),
            Entry("canary", "penstock.cli.releases.steer:canary", "Give it a share of new runs"),
            Entry("promote", "penstock.cli.releases.steer:promote", "Give it all new runs"),
            Entry("rollback", "penstock.cli.releases.rollback:rollback", "Take a release back, at once"),
            Entry("retire", "penstock.cli.releases.steer:retire", "Take it out of use"),
            Entry("confirm", "penstock.cli.releases.confirm:confirm", "Approve anew what is in use"),
            Entry("diff", "penstock.cli.releases.diff:diff", "Say what another release has otherwise"),
            Entry("compare", "penstock.cli.releases.diff:compare", "Show how runs of releases went, side by side"),
            Entry("verify", "penstock.cli.releases.ls:verify", "Check signatures"),
            Entry("approve-tool", "penstock.cli.releases.tools:approve_tool", "Accept that a server's tool changed"),
            Entry("keygen", "penstock.cli.releases.keygen:keygen", "Make a key that signs releases"),
        ),
    ),
    Entry("kill", "penstock.cli.kill:kill", "Stop one run or all of a scope, at once"),
    Entry("pause", "penstock.cli.kill:pause", "Hold back all runs of a scope"),
    Entry("resume", "penstock.cli.resume:resume", "Lift kills and pauses of a scope"),
    Group(
        "keys",
        "Who may use the API and the console",
        (
            Entry("make", "penstock.cli.keys.make:make", "Make a key, and show it once"),
            Entry("add", "penstock.cli.keys.add:add", "Make a program's key for the gateway, and show it once"),
            Entry("ls", "penstock.cli.keys.ls:ls", "List keys"),
            Entry("revoke", "penstock.cli.keys.revoke:revoke", "End a key"),
        ),
    ),
    Entry("gateway", "penstock.cli.gateway:gateway", "Pass the model calls of any program through the model gate"),
    Group(
        "webhooks",
        "Who is told what happens",
        (
            Entry("add", "penstock.cli.webhooks.add:add", "Tell an address what happens, from now on"),
            Entry("ls", "penstock.cli.webhooks.ls:ls", "List endpoints, and how many deliveries wait or were given up"),
            Entry("replay", "penstock.cli.webhooks.replay:replay", "Attempt deliveries again"),
        ),
    ),
    Group(
        "audit",
        "Check what was recorded",
        (
            Entry("verify", "penstock.cli.audit.verify:verify", "Verify hash chains and payloads"),
            Entry("checkpoint", "penstock.cli.audit.checkpoint:checkpoint", "Print the log's newest signed checkpoint"),
            Entry("prove", "penstock.cli.audit.checkpoint:prove", "Prove that a run is in the log, or that it grew"),
            Entry("export", "penstock.cli.audit.export:export", "Write runs with their proofs, for verify.py"),
            Entry("verifier", "penstock.cli.audit.export:verifier", "Write verify.py"),
            Entry("who", "penstock.cli.audit.who:who", "Say who answers for what a run did"),
            Entry("receipt", "penstock.cli.audit.receipt:receipt", "Print or check receipts of what a run did"),
            Entry("keygen", "penstock.cli.audit.keys:keygen", "Make the key that signs the log"),
            Entry("rotate", "penstock.cli.audit.keys:rotate", "Go over to another key"),
            Entry("cosign", "penstock.cli.audit.checkpoint:cosign", "Exchange checkpoints with witnesses"),
        ),
    ),
    Group(
        "retention",
        "How long ended runs are kept, and where they go",
        (
            Entry("policy", "penstock.cli.retention:policy", "Show, set or remove how long an agent's runs are kept"),
            Entry("plan", "penstock.cli.retention:plan", "Show what would be archived or pruned now"),
            Entry("run", "penstock.cli.retention:run", "Archive and prune what is due"),
            Entry("hold", "penstock.cli.retention_holds:hold", "Keep a run's family, or everything, whatever its age"),
            Entry("release", "penstock.cli.retention_holds:release", "Take a hold off"),
            Entry("holds", "penstock.cli.retention_holds:holds", "List holds"),
            Entry("redact", "penstock.cli.retention_holds:redact", "Take a subject's content out of an archive"),
            Entry("forgotten", "penstock.cli.retention:forgotten", "Show the sums over runs whose rows are gone"),
        ),
    ),
    Group(
        "upgrade",
        "Move to a new release while workers run",
        (
            Entry("status", "penstock.cli.upgrade:status", "Show how far the database is"),
            Entry("expand", "penstock.cli.upgrade:expand", "Bring the schema up to date"),
            Entry("finalize", "penstock.cli.upgrade:finalize", "Write new runs in the newest format"),
        ),
    ),
    Group(
        "backup",
        "Keep a copy of the journal, and use one",
        (
            Entry("create", "penstock.cli.backup:create", "Write a consistent copy while workers run"),
            Entry("restore", "penstock.cli.backup:restore", "Read a copy into an empty database"),
            Entry("restored", "penstock.cli.backup:restored", "Say that the database was restored by other means"),
            Entry("go-on", "penstock.cli.backup:go_on", "Let the runs that a restore held go on"),
        ),
    ),
    Entry("doctor", "penstock.cli.doctor:doctor", "Check the installation and the database"),
    Entry("settings", "penstock.cli.settings:settings", "Show every setting and its value"),
    Entry("version", "penstock.cli.version:version", "Show the version"),
)
