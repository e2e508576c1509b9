"""Making tasks and finding out whether they are fair."""
