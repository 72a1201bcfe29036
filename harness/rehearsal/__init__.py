"""The rehearsal proves on small lengths that a plan will run, and says what it needs, costs and lacks."""
