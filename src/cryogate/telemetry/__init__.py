"""What the process tells of itself while it works: spans of a trace, and lines of a log."""
