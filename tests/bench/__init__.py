"""Benchmarks of a whole Postbus on this machine, against the budgets of the design. `./dev bench --help`."""
