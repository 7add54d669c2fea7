"""The demo: a support desk of a small bank works real tickets, with and without Penstock."""
