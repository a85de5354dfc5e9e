"""Fakes that stand in for clocks, engines and stores in tests, ours and yours."""
