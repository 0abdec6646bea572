"""EdgeQ beside its peers: `python -m benchmarks NAME`, from a checkout. One benchmark, one file; rules: harness.py."""
