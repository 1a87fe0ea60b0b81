"""The composition root: settings → adapters → activities → workers, for the roles of a process."""
