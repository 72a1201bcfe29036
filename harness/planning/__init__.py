"""Planning reads suites and turns them into steps with content keys; it runs nothing."""
