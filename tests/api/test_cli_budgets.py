"""Budgets from the command line."""

from tests.api.conftest import CommandLine


def test_a_budget_is_set_shown_raised_and_lifted(command_line: CommandLine) -> None:
    """As an operator does; what is wrong is refused, and says what would be right."""
    penstock, tenant = command_line.quick, "cli-budgets"
    ours = ("--tenant", tenant)
    assert penstock("budgets", "ls", *ours).err.startswith("no budgets")
    made = penstock("budgets", "set", "monthly", "--usd", "50", "--match", "customer=*", *ours)
    assert (made.code, made.err) == (0, "monthly: customer=*; $50.00 a month; in force on every worker within 2 s\n")
    raised = penstock("budgets", "raise", "monthly", "--usd", "0.5", *ours, "--json").document
    assert (raised["nano"], raised["match"], raised["period"]) == (50_500_000_000, {"customer": "*"}, "month")
    [listed] = penstock("budgets", "ls", *ours, "--json").document
    assert (listed["name"], listed["accounts"]) == ("monthly", [])
    assert "$50.50 a month" in penstock("budgets", "ls", *ours).out
    shown = penstock("budgets", "show", "monthly", *ours)
    assert shown.out == "monthly: customer=*; $50.50 a month; at its end: stop\n"
    assert penstock("budgets", "remove", "monthly", *ours).code == 0
    assert penstock("budgets", "ls", *ours, "--json").document == []
    for arguments, code in (
        (("remove", "monthly"), "budget_unknown"),
        (("show", "monthly"), "budget_unknown"),
        (("raise", "monthly", "--usd", "1"), "budget_unknown"),
        (("set", "m"), "budget_invalid"),
        (("set", "m", "--usd", "1", "--period", "week"), "budget_invalid"),
        (("set", "m", "--usd", "1", "--timezone", "Mars/Base"), "budget_invalid"),
        (("set", "m", "--usd", "1", "--match", "customer"), "budget_invalid"),
        (("set", "m", "--usd", "-1"), "budget_invalid"),
        (("set", "m", "--calls", "1", "--at-end", "explode"), "budget_invalid"),
        (("set", "a/b", "--calls", "1"), "budget_invalid"),
    ):
        refused = penstock("budgets", *arguments, *ours, "--json")
        assert refused.code != 0, arguments
        assert refused.error["code"] == code, arguments
