"""Stand-ins for what is not ours, in memory. Each passes the same contract tests as its real twin."""
