"""``penstock releases``: review, roll out and roll back what agents are told, by which model, within which bounds."""
