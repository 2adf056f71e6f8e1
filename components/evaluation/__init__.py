"""Benchmarks, answers, metrics, statistics, report."""
