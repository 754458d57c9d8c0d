"""dm_control tasks as pixel environments."""
