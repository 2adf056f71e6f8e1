"""The gate (a pure decision), promotion (the act), trace."""
