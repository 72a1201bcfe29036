"""The rehearsal tests by short runs that a plan will run, and says what it needs, costs and lacks."""
