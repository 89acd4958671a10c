"""The plug-in package is material of the tests, not a test."""

collect_ignore = ["package"]
