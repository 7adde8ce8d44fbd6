"""Stand-ins and process helpers shared by tests."""
