"""``penstock budgets``: budgets above the task, which all workers share."""
