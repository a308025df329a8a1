"""What `make demo` runs: a live feed on the mock venue, broken on purpose and checked."""
