"""What an episode is about: tasks, their folders, sources and suites."""
