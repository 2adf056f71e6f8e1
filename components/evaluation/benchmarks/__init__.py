"""One benchmark a module; benchmarks do not know each other."""
