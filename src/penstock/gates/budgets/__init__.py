"""Budgets above the task: this process's shares of them, and what the gates reserve from these.

Who makes calls without a run in hand can use `penstock.gates.budgets.shares.Shares` by itself, which hangs at
``services.budgets``: ``got = await budgets.reserve(tenant, agent, tags, amount)`` waits for room and gives a `Hold`,
None where no budget covers the call, or a `Refusal` (`penstock.gates.budgets.gate.decision_of` has its words). A hold
goes with the intent that makes it durable: ``intent.charged = hold.accounts``, and ``expect(hold)`` on the run's
`penstock.gates.budgets.charging.Charging`, which is its log's ``charging``, right before the intent is added. The
outcome of the attempt, or the run's end, settles it by itself. A hold whose intent is never added is given back by
``budgets.release(hold)``.
"""
