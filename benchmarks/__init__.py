"""What Penstock costs, beside a peer that does the same: ``make bench``. How to run and read it: README.md."""
